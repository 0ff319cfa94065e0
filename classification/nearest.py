"""The nearest of many embeddings, by faiss where it is installed and by a matrix product elsewhere."""

import importlib.util

import numpy as np
import torch

from repmet.errors import UserError
from repmet.model_definitions.representatives import squared_distances

TOGETHER = 256  # queries whose distances to all are looked at together


def nearest(
    queries: np.ndarray, vectors: np.ndarray, number: int, *, by: str | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest vectors of each query, exactly; of equally near ones in any order.

    Args:
        queries: (q, e). vectors: (n, e). number: k, at most n of them are returned.
        by: "faiss" (`IndexFlatL2`) or "torch"; None: faiss where it is installed.

    Returns:
        Indices and squared Euclidean distances, (q, k), the nearest first.

    Raises:
        ValueError: other dimensions, or k below 1.
    """
    if queries.ndim != 2 or vectors.ndim != 2 or queries.shape[1] != vectors.shape[1]:
        raise UserError(f"queries of {queries.shape[-1]} dimensions are compared with {vectors.shape[-1]}")
    if number < 1:
        raise UserError(f"the nearest {number}: the number is at least 1")
    number = min(number, len(vectors))
    by = by or ("faiss" if importlib.util.find_spec("faiss") else "torch")
    if by == "faiss":
        import faiss

        index = faiss.IndexFlatL2(vectors.shape[1])
        index.add(np.ascontiguousarray(vectors, np.float32))
        d2, indices = index.search(np.ascontiguousarray(queries, np.float32), number)
        return indices, np.maximum(d2, 0)
    every = torch.from_numpy(np.asarray(vectors, np.float32))[:, None]  # (n, 1, e)
    chunks = torch.from_numpy(np.asarray(queries, np.float32)).split(TOGETHER)
    chosen = [squared_distances(chunk, every)[..., 0].topk(number, largest=False) for chunk in chunks]
    return torch.cat([c.indices for c in chosen]).numpy(), torch.cat([c.values for c in chosen]).numpy()
