"""The fit in the span of few rows is the fit in all features, and a correction is the minimum over one class."""

import numpy as np
from scipy.linalg import solve_triangular
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from repmet.detection.scoring.span_fit import Span, fit, refit_class


def rows(count: int = 40, features: int = 90, classes: int = 2) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes + 1, count)
    x = rng.normal(size=(count, features)) + 4 * rng.normal(size=(classes + 1, features))[labels]
    shares = rng.random(count)
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32), labels, shares / shares.sum()


def test_the_coordinates_keep_every_angle() -> None:
    x, _, _ = rows()
    span = Span(x)
    assert span.is_small and span.coordinates.shape == (40, 40)
    np.testing.assert_allclose(span.lower @ span.lower.T, x @ x.T, atol=1e-5)
    inside = np.random.default_rng(1).normal(size=(3, 40))
    np.testing.assert_allclose(span.weights(inside) @ x.T, inside @ span.lower.T, atol=1e-3)


def test_more_rows_are_as_if_they_had_been_there() -> None:
    x, _, _ = rows()
    wider, whole = Span(x[:30]).extended(x[30:]), Span(x)
    np.testing.assert_allclose(wider.lower, whole.lower, atol=1e-4)


def test_the_fit_is_sklearns() -> None:
    for features in (90, 12):  # fewer rows than features, and more
        x, labels, shares = rows(features=features)
        span = Span(x)
        weight, bias = fit(span.coordinates, labels, shares, 2, 0.02)
        reference = LogisticRegression(C=1 / 0.02, tol=1e-10, max_iter=9000)
        reference.fit(x.astype(np.float64), labels, sample_weight=shares)
        ours = x @ span.weights(weight).T + bias
        theirs = reference.decision_function(x.astype(np.float64))
        np.testing.assert_allclose(ours - ours.mean(1, keepdims=True), theirs, atol=5e-3)


def test_a_correction_is_the_minimum_over_one_class() -> None:
    x, labels, shares = rows()
    span = Span(x)
    weight, bias = fit(span.coordinates, labels, shares, 2, 0.02)
    labels = labels.copy()
    labels[:3] = 2  # what was thought to be something is background
    full = span.weights(weight)
    inside = solve_triangular(span.lower, x @ full[0], lower=True)
    change, shift = refit_class(span.coordinates, x @ full.T + bias, inside, labels, shares, 0, 0.02)

    def loss(flat: np.ndarray) -> float:
        logits = x @ full.T + bias
        logits[:, 0] = x @ flat[:-1] + flat[-1]
        logs = logits - np.logaddexp.reduce(logits, 1)[:, None]
        return -(shares * logs[np.arange(40), labels]).sum() + 0.02 * (flat[:-1] ** 2).sum() / 2

    ours = np.append(full[0] + span.weights(change[None])[0], bias[0] + shift)
    best = minimize(loss, np.append(full[0], bias[0]), method="L-BFGS-B", options={"maxiter": 500, "maxfun": 10**6})
    assert loss(ours) < best.fun + 1e-4
