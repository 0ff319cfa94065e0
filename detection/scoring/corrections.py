"""One class of a logistic regression moved by a correction, all others staying as they are. Plain arrays.

Shapes: N classes, R training rows, f features.
"""

import numpy as np
from scipy.linalg import solve_triangular

from repmet.detection.scoring.span_fit import Span, one_thread, refit_class
from repmet.detection.scoring.training_rows import MarkedRegions, Rows, corrected_rows


def corrected_layer(
    weight: np.ndarray, bias: np.ndarray, rows: Rows, span: Span, image: MarkedRegions, number: int, decay: float
) -> tuple[np.ndarray, np.ndarray, Rows, Span]:
    """The layer after a region of an image was accepted as one of a class, or rejected.

    Args:
        weight, bias: (N + 1, f) and (N + 1,) float32.
        rows, span: that it was fitted to.
        image: with the one box that was accepted or rejected.
        number: of the class.

    Returns:
        The layer, of which the class's row alone has changed, and the rows and span with those of the correction.
    """
    classes = len(weight) - 1
    more = corrected_rows(image, int(rows.images.max(initial=-1)) + 1, classes)
    with one_thread():
        rows, span = Rows.joined([rows, more]), span.extended(more.features)
        products = (span.rows @ weight.T).astype(np.float64)  # (R, N + 1)
        inside = weight[number].astype(np.float64)
        if span.is_small:
            inside = solve_triangular(span.lower, products[:, number], lower=True, check_finite=False)
        shares = rows.shares(classes)
        change, shift = refit_class(span.coordinates, products + bias, inside, rows.labels, shares, number, decay)
        moved, moved_bias = weight.copy(), bias.copy()
        moved[number] += span.weights(change[None])[0].astype(np.float32)
        moved_bias[number] += shift
    return moved, moved_bias, rows, span
