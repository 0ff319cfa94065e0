"""Logistic regression on few rows of many features, fitted in the span of the rows: exact, and as small as the rows are few.

The minimum of `sum_r a_r CE(W x_r + b, y_r) + decay |W|^2 / 2` is a sum of rows, `W = A X` (the representer theorem). With
the Cholesky factor of the Gram matrix, `X X' = L L'`, the rows of L are the rows of X in an orthonormal basis of their span.
Plain arrays: what has no torch fits by the same equations.

Shapes: N classes, R training rows, f features.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from scipy.linalg import solve_triangular
from scipy.optimize import minimize
from scipy.special import log_softmax
from threadpoolctl import ThreadpoolController

STEPS, CORRECTING_STEPS = 100, 25  # of L-BFGS; a correction starts near its end
JITTER = 1e-6  # rows that come twice; relative to rows of unit length


@dataclass(frozen=True, eq=False)
class Span:
    """Training rows X (R, f) and, where they are fewer than features, their coordinates."""

    rows: np.ndarray

    @cached_property
    def lower(self) -> np.ndarray:
        """L (R, R)."""
        with one_thread():
            gram = (self.rows @ self.rows.T).astype(np.float64)
            return _factor(gram)

    def extended(self, more: np.ndarray) -> "Span":
        """With some rows (m, f) behind the others; what is known of those is not computed again."""
        wider = Span(np.concatenate([self.rows, more]))
        products = (self.rows @ more.T).astype(np.float64)  # (R, m)
        cross = solve_triangular(self.lower, products, lower=True, check_finite=False).T  # (m, R)
        rest = (more @ more.T).astype(np.float64) - cross @ cross.T
        corner = _factor(rest)
        size = len(self.rows)
        lower = np.zeros((size + len(more),) * 2)
        lower[:size, :size], lower[size:, :size], lower[size:, size:] = self.lower, cross, corner
        wider.__dict__["lower"] = lower
        return wider

    @property
    def is_small(self) -> bool:
        return len(self.rows) < self.rows.shape[1]

    @property
    def coordinates(self) -> np.ndarray:
        """(R, R) or, of many rows, X itself."""
        return self.lower if self.is_small else self.rows.astype(np.float64)

    def weights(self, inside: np.ndarray) -> np.ndarray:
        """(n, R) in the span -> (n, f)."""
        if not self.is_small:
            return inside
        inner = solve_triangular(self.lower, inside.T, lower=True, trans="T", check_finite=False).T  # (n, R)
        return inner.astype(self.rows.dtype) @ self.rows


def _factor(gram: np.ndarray) -> np.ndarray:
    """The lower Cholesky factor of a Gram matrix (R, R), with as little on its diagonal as makes it positive definite: of
    many rows that are nearly one, rounding takes more than `JITTER`."""
    jitter = JITTER
    while True:
        try:
            return np.linalg.cholesky(gram + jitter * np.eye(len(gram)))
        except np.linalg.LinAlgError:
            if jitter > 0.1:  # not a matter of rounding
                raise
            jitter *= 10


def fit(coordinates: np.ndarray, labels: np.ndarray, shares: np.ndarray, classes: int, decay: float) -> tuple:
    """The minimum over W and b, from zero, by L-BFGS on all rows: a function of the rows alone.

    Args:
        coordinates, labels: (R, d) and (R,), N for the background.
        shares: a, (R,).

    Returns:
        W (N + 1, d) and b (N + 1,).
    """
    size, hot = (classes + 1) * coordinates.shape[1], np.eye(classes + 1)[labels]

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weight, bias = flat[:size].reshape(classes + 1, -1), flat[size:]
        logs = log_softmax(coordinates @ weight.T + bias, axis=1)  # (R, N + 1)
        slope = shares[:, None] * (np.exp(logs) - hot)
        value = -(shares * logs[np.arange(len(labels)), labels]).sum() + decay * (weight**2).sum() / 2
        return value, np.concatenate([(slope.T @ coordinates + decay * weight).ravel(), slope.sum(0)])

    flat = _minimum(loss, np.zeros(size + classes + 1))
    return flat[:size].reshape(classes + 1, -1), flat[size:]


def refit_class(
    coordinates: np.ndarray,
    logits: np.ndarray,
    inside: np.ndarray,
    labels: np.ndarray,
    shares: np.ndarray,
    number: int,
    decay: float,
) -> tuple[np.ndarray, float]:
    """How one class moves when all others stand still: the change of its `w` and `b` that minimises the same loss.

    Args:
        coordinates: (R, d).
        logits: (R, N + 1) as they are.
        inside: (d,), the class's weights as far as the span holds them.
        number: of the class.

    Returns:
        The change of w (d,), and of b.
    """
    others = np.delete(logits, number, 1)
    rest = np.logaddexp.reduce(others, 1)  # (R,)
    of_class = labels == number

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        change, shift = flat[:-1], flat[-1]
        z = logits[:, number] + coordinates @ change + shift
        total = np.logaddexp(rest, z)
        slope = shares * (np.exp(z - total) - of_class)
        value = (shares * (total - np.where(of_class, z, 0))).sum() + decay * ((inside + change) ** 2).sum() / 2
        return value, np.append(slope @ coordinates + decay * (inside + change), slope.sum())

    flat = _minimum(loss, np.zeros(len(inside) + 1), CORRECTING_STEPS)
    return flat[:-1], float(flat[-1])


def _minimum(loss: Callable[[np.ndarray], tuple[float, np.ndarray]], start: np.ndarray, steps: int = STEPS) -> np.ndarray:
    options = {"maxiter": steps, "maxcor": 20, "ftol": 1e-9, "gtol": 1e-6}
    with one_thread():
        return minimize(loss, start, jac=True, method="L-BFGS-B", options=options).x


def one_thread() -> AbstractContextManager:
    """BLAS on one thread: on a busy machine the threads of a small product wait for one another, twenty times its time."""
    return _blas().limit(limits=1, user_api="blas")


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()
