"""Expected precision and recall from held-out finds: counted by hand, and intervals that cover what they promise."""

import numpy as np
import pytest
from scipy.stats import beta

from repmet.detection.scoring.calibration import Calibration, HeldOutFinds
from repmet.detection.scoring.estimate import estimates, share


def test_counts_by_hand() -> None:
    finds = HeldOutFinds(
        scores=np.array([0.9, 0.8, 0.7, 0.2, 0.9, 0.6]),
        labels=np.array([0, 0, 0, 0, 1, 1]),
        right=np.array([True, False, True, True, True, False]),
        images=np.array([0, 0, 1, 1, 0, 1]),
        objects=np.array([[2, 1], [2, 1]]),
    )
    calibration = Calibration(1.0, (5.0, 5.0), (0.985, 0.985))  # taken from about 0.44 on
    first, second, both = estimates(finds, calibration)
    assert first.precision.value == pytest.approx(2 / 3) and first.recall.value == pytest.approx(2 / 4)
    assert second.precision.value == pytest.approx(1 / 2) and second.recall.value == pytest.approx(1 / 2)
    assert both.precision.value == pytest.approx(3 / 5) and both.recall.value == pytest.approx(3 / 6)
    assert both.f1 == pytest.approx(2 * 0.6 * 0.5 / 1.1)
    assert both.precision.low < 0.6 < both.precision.high


def test_without_clusters_it_is_jeffreys_interval() -> None:
    got = share(np.array([6.0]), np.array([8.0]))
    assert (got.low, got.high) == pytest.approx(tuple(beta.ppf([0.05, 0.95], 6.5, 2.5)), rel=1e-6)
    apart = share(np.array([1, 0, 1, 1, 0, 1, 1, 1]), np.ones(8))
    assert (apart.low, apart.high) == pytest.approx((got.low, got.high), abs=0.02)
    nothing = share(np.zeros(3), np.zeros(3))
    assert nothing.low < 0.05 and nothing.high > 0.95


def test_the_interval_covers_where_finds_of_an_image_stand_or_fall_together() -> None:
    """Images of four objects each, all found or all missed: nine in ten intervals hold the truth, at the least eight."""
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        hits = 4.0 * (rng.random(12) < 0.7)
        got = share(hits, np.full(12, 4.0))
        covered += got.low <= 0.7 <= got.high
    assert 0.82 < covered / 400 < 0.98
    narrow = sum(b.low <= 0.7 <= b.high for b in (_naive(4.0 * (rng.random(12) < 0.7)) for _ in range(400)))
    assert narrow / 400 < 0.75  # without the design effect they would not


def _naive(hits: np.ndarray):
    low, high = beta.ppf([0.05, 0.95], hits.sum() + 0.5, 48 - hits.sum() + 0.5)
    return type("Interval", (), {"low": low, "high": high})
