"""What pytorch-metric-learning takes from faiss, in torch: neighbours and clusters for its calculator, testers and
InferenceModel, which then need no faiss.

    AccuracyCalculator(knn_func=Neighbours(), kmeans_func=clusters, device=device)
    InferenceModel(trunk, knn_func=Neighbours())
"""

from pathlib import Path

import torch
from torch import Tensor

from repmet.classification.metrics.retrieval import largest, similarities
from repmet.errors import UserError
from repmet.model_definitions.kmeans import kmeans


class Neighbours:
    """Exact nearest neighbours, with the face of the package's `FaissKNN`.

    Args:
        metric: "cosine" or "euclidean".
    """

    def __init__(self, metric: str = "cosine") -> None:
        self.metric, self.known = metric, None

    def __call__(
        self, query: Tensor, k: int, reference: Tensor | None = None, ref_includes_query: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Distances and indices, (n, k) each, nearest first: 1 - cosine, or Euclidean distances.

        Args:
            query: (n, e). reference: (m, e); None: those of `train` and `add`.
            ref_includes_query: the first n references are the queries; none is its own neighbour.

        Raises:
            ValueError: nothing to look among.
        """
        reference = self.known if reference is None else reference
        if reference is None:
            raise UserError("Neighbours has nothing to look among: call train(embeddings), or give references")
        reference = reference.to(query.device)
        distances, indices = [], []
        for rows, similarity in similarities(query, reference, self.metric, exclude_self=False):
            if ref_includes_query:
                similarity.diagonal(rows.start).fill_(-torch.inf)
            value, index = largest(similarity, k)
            indices.append(index)
            if self.metric == "euclidean":
                value = 1 - (query[rows, None].float() - reference[index].float()).norm(dim=2)
            distances.append(1 - value)
        return torch.cat(distances), torch.cat(indices)

    def train(self, embeddings: Tensor) -> None:
        """Looks among these from now on, (m, e)."""
        self.known = torch.as_tensor(embeddings)

    def add(self, embeddings: Tensor) -> None:
        """Looks among these too."""
        self.known = torch.cat([self.known, torch.as_tensor(embeddings).to(self.known)])

    def reset(self) -> None:
        self.known = None

    def save(self, filename: str | Path) -> None:
        torch.save(self.known, filename)

    def load(self, filename: str | Path) -> None:
        self.known = torch.load(filename, weights_only=True)


def clusters(x: Tensor, number: int) -> Tensor:
    """(n,) the cluster of each x (n, e), by k-means from the seed 0: the package's `kmeans_func`."""
    single_class = torch.zeros(len(x), dtype=torch.long, device=x.device)
    return kmeans(x.float(), single_class, 1, number, generator=torch.Generator().manual_seed(0)).assignment
