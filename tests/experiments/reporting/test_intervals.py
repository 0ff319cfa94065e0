"""Means and their intervals: against closed forms, scipy, and the coverage that they promise."""

import math
import statistics

import numpy as np
import pytest
import torch
from scipy import stats

from repmet.experiments.reporting.intervals import Estimate, mean_interval, paired_difference

FUNCTIONS = [mean_interval, lambda v: paired_difference(v, v)]


def test_the_interval_by_hand():
    mean, ci95, n = mean_interval([0.2, 0.4, 0.9])
    assert (mean, n) == (pytest.approx(0.5), 3)
    assert ci95 == pytest.approx(4.302653 * math.sqrt((0.09 + 0.01 + 0.16) / 2 / 3))  # t of two degrees of freedom


def test_against_the_standard_library():
    values = torch.rand(1000, dtype=torch.float64)
    estimate = mean_interval(values)
    assert estimate.mean == pytest.approx(statistics.fmean(values.tolist()))
    assert estimate.ci95 == pytest.approx(1.962341 * statistics.stdev(values.tolist()) / math.sqrt(1000))


def test_float32_counts_do_not_lose_digits():
    values = torch.full((100_000,), 0.9877, dtype=torch.float32)
    assert mean_interval(values).mean == pytest.approx(float(np.float32(0.9877)), abs=1e-12)


def test_sequences_of_floats_do_not_lose_digits():
    assert mean_interval([0.9891666666666666, 0.99, 0.9833333333333333]).mean == pytest.approx(0.9875, abs=1e-15)


def test_arrays_tensors_and_sequences_give_the_same():
    values = [0.25, 0.5, 1.0]
    for same in (np.array(values), torch.tensor(values, requires_grad=True), tuple(values)):
        assert mean_interval(same) == mean_interval(values)


def test_as_json_an_unknown_interval_is_none():
    assert mean_interval([0.5]).as_json() == {"mean": 0.5, "ci95": None, "n": 1}
    assert Estimate(0.5, math.nan, 7).as_json() == {"mean": 0.5, "ci95": None, "n": 7}
    assert Estimate(np.float64(0.5), 0.1, 7).as_json() == {"mean": 0.5, "ci95": 0.1, "n": 7}


def test_images_give_the_binomial_interval():
    right = torch.tensor([True] * 90 + [False] * 10)
    mean, ci95, _ = mean_interval(right)
    assert mean == pytest.approx(0.9) and ci95 == pytest.approx(stats.t.ppf(0.975, 99) * math.sqrt(0.9 * 0.1 / 99))


@pytest.mark.parametrize("n", [2, 3, 5, 40])
def test_seeds_against_scipy(n):
    values = np.random.default_rng(n).normal(size=n)
    low, high = stats.t.interval(0.95, n - 1, loc=values.mean(), scale=stats.sem(values))
    estimate = mean_interval(values)
    assert (estimate.mean - estimate.ci95, estimate.mean + estimate.ci95) == (pytest.approx(low), pytest.approx(high))


@pytest.mark.parametrize("n", [3, 200])
def test_the_interval_covers_the_truth_as_often_as_it_says(n):
    rng = np.random.default_rng(1)
    covered = [abs((e := mean_interval(rng.normal(3, 2, size=n))).mean - 3) <= e.ci95 for _ in range(2000)]
    assert 0.93 < statistics.fmean(covered) < 0.97  # 0.95 within four standard deviations


def test_pairing_takes_the_difficulty_of_episodes_out():
    difficulty = torch.randn(500)
    better = 0.1 + difficulty + 0.01 * torch.randn(500)
    difference = paired_difference(better, difficulty)
    assert difference.mean == pytest.approx(0.1, abs=0.005) and difference.mean > difference.ci95
    assert difference.ci95 < mean_interval(better).ci95 / 20
    assert paired_difference(difficulty, better).mean == pytest.approx(-difference.mean)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_one_value_says_nothing_about_the_spread(function):
    assert function([0.5])[1:] == (math.inf, 1)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], r"n at least 1, not \(0,\)"),
        ([[0.1], [0.2]], r"not \(2, 1\)"),
        ([0.1, math.nan, math.inf], "2 of 3 values are not finite"),
    ],
)
def test_bad_values_are_refused(function, values, message):
    with pytest.raises(ValueError, match=message):
        function(values)


def test_pairs_must_be_pairs():
    with pytest.raises(ValueError, match="not 3 and 2 values"):
        paired_difference([0.1, 0.2, 0.3], [0.1, 0.2])
