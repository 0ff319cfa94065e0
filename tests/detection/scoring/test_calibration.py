"""Probabilities and thresholds from held-out finds: against a numerical minimum, and on finds whose truth is known."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit

from repmet.detection.scoring import calibration
from repmet.detection.scoring.calibration import HeldOutFinds, Prior, calibrate

PRIOR = Prior(1.0, 2.0, 0.7)


def finds(count: int, offset: float, slope: float = 1.0, classes: int = 2, seed: int = 0) -> HeldOutFinds:
    """Finds whose probability of being right is sigmoid(slope log s + offset)."""
    rng = np.random.default_rng(seed)
    scores = np.exp(rng.uniform(-8, 0, count))
    right = rng.random(count) < expit(slope * np.log(scores) + offset)
    labels = rng.integers(0, classes, count)
    return HeldOutFinds(scores, labels, right, labels, np.bincount(labels[right], minlength=classes)[None] + 1.0)


def test_without_finds_the_prior_is_all_there_is() -> None:
    for nothing in (
        None,
        HeldOutFinds(np.zeros(0), np.zeros(0, int), np.zeros(0, bool), np.zeros(0, int), np.zeros((1, 2))),
    ):
        got = calibrate(PRIOR, 2, nothing)
        assert got.thresholds == (0.35, 0.35)
        np.testing.assert_allclose(got(np.array([0.1, 0.5]), np.array([0, 1])), expit(np.log([0.1, 0.5]) + 2.0), rtol=1e-6)


def test_it_is_the_minimum_of_the_penalised_loss() -> None:
    """The same by scipy's derivative-free search, the loss written out."""
    seen = finds(60, 4.0)
    got = calibrate(PRIOR, 2, seen)
    logs = np.log(seen.scores)

    def loss(values: np.ndarray) -> float:
        log_slope, shared, first, second = values
        p = expit(np.exp(log_slope) * logs + 2.0 + shared + np.array([first, second])[seen.labels])
        value = -np.log(np.where(seen.right, p, 1 - p)).sum()
        spreads = (calibration.SLOPE_SPREAD, calibration.SHARED_SPREAD, *(calibration.CLASS_SPREAD,) * 2)
        return value + sum((v / spread) ** 2 / 2 for v, spread in zip(values, spreads, strict=True))

    best = minimize(loss, np.zeros(4), method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-10, "maxiter": 5000}).x
    np.testing.assert_allclose(got.slope, np.exp(best[0]), rtol=1e-3)
    np.testing.assert_allclose(got.offsets, 2.0 + best[1] + best[2:], atol=2e-3)


def test_many_finds_overrule_the_prior() -> None:
    got = calibrate(PRIOR, 1, finds(20_000, 5.0, slope=1.3, classes=1))
    assert got.slope == pytest.approx(1.3, abs=0.05) and got.offsets[0] == pytest.approx(5.0, abs=0.15)
    fresh = finds(20_000, 5.0, slope=1.3, classes=1, seed=1)
    p = got(fresh.scores, fresh.labels)
    for low in np.arange(0, 1, 0.1):  # calibrated: of the finds about p, the share p is right
        inside = (p >= low) & (p < low + 0.1)
        assert abs(fresh.right[inside].mean() - p[inside].mean()) < 0.05


def test_the_threshold_is_half_of_the_best_f1() -> None:
    """Lipton et al.: on fresh finds no other threshold has a notably higher F1."""
    got = calibrate(PRIOR, 1, finds(20_000, 3.0, classes=1))
    fresh = finds(20_000, 3.0, classes=1, seed=1)
    p = got(fresh.scores, fresh.labels)

    def f1(threshold: float) -> float:
        taken = p >= threshold
        return 2 * fresh.right[taken].sum() / (taken.sum() + fresh.right.sum())

    best = max(f1(t) for t in np.linspace(0.02, 0.98, 97))
    assert f1(got.thresholds[0]) > best - 0.005
    assert got.thresholds[0] == pytest.approx(best / 2, abs=0.02)


def test_a_class_that_is_left_out_takes_its_numbers_along() -> None:
    got = calibrate(PRIOR, 3, finds(300, 4.0, classes=3))
    fewer = got.without(1)
    assert fewer.offsets == (got.offsets[0], got.offsets[2]) and fewer.thresholds == (got.thresholds[0], got.thresholds[2])
    more = fewer.with_more(1)
    assert more.offsets[2] == pytest.approx(np.mean(fewer.offsets)) and len(more.thresholds) == 3


def test_the_prior_lies_between_the_rows_of_its_table() -> None:
    table = [(1, 1.0, 2.0, 0.4), (10, 2.0, 4.0, 0.8)]
    assert Prior.at(1, table) == Prior(1.0, 2.0, 0.4) and Prior.at(99, table) == Prior(2.0, 4.0, 0.8)
    assert Prior.at(10**0.5, table).slope == pytest.approx(1.5)
