"""The nearest of many embeddings, by faiss and by torch alike, against a sum written out."""

import importlib.util

import numpy as np
import pytest

from repmet.classification.nearest import nearest

WAYS = ["torch", pytest.param("faiss", marks=pytest.mark.skipif(not importlib.util.find_spec("faiss"), reason="no faiss"))]


@pytest.mark.parametrize("by", WAYS)
def test_the_nearest_in_their_order(by) -> None:
    rng = np.random.default_rng(0)
    vectors, queries = rng.normal(size=(300, 7)), rng.normal(size=(270, 7))  # more queries than a chunk has
    d2 = np.square(queries[:, None] - vectors[None]).sum(2)
    order = np.argsort(d2, 1)[:, :5]
    indices, distances = nearest(queries, vectors, 5, by=by)
    np.testing.assert_array_equal(indices, order)
    np.testing.assert_allclose(distances, np.take_along_axis(d2, order, 1), atol=1e-5)
    assert nearest(queries[:2], vectors[:3], 9, by=by)[0].shape == (2, 3)  # no more than there are
    assert nearest(vectors[:2], vectors, 1, by=by)[1].min() >= 0


def test_what_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="3 dimensions are compared with 4"):
        nearest(np.zeros((1, 3)), np.zeros((2, 4)), 1)
    with pytest.raises(ValueError, match="at least 1"):
        nearest(np.zeros((1, 3)), np.zeros((2, 3)), 0)
