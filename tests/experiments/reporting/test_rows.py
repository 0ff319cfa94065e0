"""Rows of results: their keys, that they are JSON, and that seeds are summed up by Student's interval."""

import json
import math

import pytest
from scipy import stats

from repmet.experiments.reporting.intervals import Estimate, mean_interval
from repmet.experiments.reporting.rows import episode_metric, over_seeds, result_row

NAME = {"dataset": "omniglot", "split": "test", "method": "ProtoNet", "metric": "5-way 1-shot accuracy"}


def row(mean: float, seed: int, **changes) -> dict:
    return result_row(Estimate(mean, 0.001, 10_000), seeds=[seed], **{**NAME, **changes})


def test_a_row_has_these_keys_and_is_json():
    made = result_row(mean_interval([0.5, 1.0, 0.75]), seeds=(7,), **NAME)
    assert list(made) == ["dataset", "split", "method", "metric", "mean", "ci95", "n", "seeds"]
    assert json.loads(json.dumps(made, allow_nan=False)) == made
    assert (made["mean"], made["n"], made["seeds"]) == (0.75, 3, [7])
    assert made["ci95"] == pytest.approx(4.302653 * 0.25 / math.sqrt(3))


def test_metrics_are_spelled_alike():
    assert episode_metric(20, 5) == "20-way 5-shot accuracy"


def test_an_unknown_interval_is_none():
    made = result_row(mean_interval([0.5]), seeds=[1], **NAME)
    assert made["ci95"] is None and json.dumps(made, allow_nan=False)


def test_seeds_are_summed_up_and_figures_kept_apart():
    figures = [0.98, 0.97, 0.99]
    rows = [row(mean, seed) for mean, seed in zip(figures, (3, 1, 2), strict=True)] + [row(0.9, 1, split="val")]
    test, val = over_seeds(rows)
    low, _ = stats.t.interval(0.95, 2, loc=0.98, scale=stats.sem(figures))
    assert test == {**NAME, "mean": pytest.approx(0.98), "ci95": pytest.approx(0.98 - low), "n": 3, "seeds": [1, 2, 3]}
    assert val == row(0.9, 1, split="val")  # one training: its interval over episodes stays
    assert over_seeds([]) == []


def test_what_cannot_be_summed_up_is_named():
    with pytest.raises(ValueError, match="omniglot test ProtoNet 5-way 1-shot accuracy is there twice for one seed"):
        over_seeds([row(0.9, 1), row(0.8, 1)])
    with pytest.raises(ValueError, match=r"of one seed each can be summed up, not those of the seeds \[1, 2, 3\]"):
        over_seeds([{**row(0.9, 1), "seeds": [1, 2]}, row(0.9, 3)])


@pytest.mark.parametrize("mean", [98.8, -0.1, math.nan])
def test_percent_is_refused(mean):
    with pytest.raises(ValueError, match=r"5-way 1-shot accuracy of ProtoNet on omniglot test is .*, not a fraction"):
        row(mean, 1)


def test_a_row_needs_a_seed():
    with pytest.raises(ValueError, match="names no seed"):
        result_row(Estimate(0.5, 0.1, 10), seeds=[], **NAME)
