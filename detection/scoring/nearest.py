"""Scores by the nearest representative of each class, and what a person has rejected of it.

Shapes: N classes, N' of them with rejections, K representatives and M rejections a class, P proposals, e dimensions.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from repmet.detection.embedding.embedded_image import EmbeddedImage
from repmet.detection.scoring.class_scores import lengthened, padded, scores_at, stacked
from repmet.detection.scoring.scorer import ClassScorer
from repmet.model_definitions.representatives import squared_distances


@dataclass(frozen=True, kw_only=True, eq=False)
class NearestRepresentative(ClassScorer):
    """`repmet` and the two baselines: the posterior of the nearest representative in an embedding space.

    Attributes:
        representatives: (N, K, e) of unit length.
        space: of `detection.embedding.embedded_image.SPACES`.
        base: (N_b, K, e), of classes that compete without being looked for, or None.
        rejected: (N', M, e), regions that somebody has said not to be of a class: NP-RepMet's negative representatives,
            which lengthen that class's distances (`rule.negative_weight`). None: none.
        rejected_of: (N',) int64, the numbers of those classes.
    """

    representatives: Tensor
    space: str = "repmet"
    base: Tensor | None = None
    rejected: Tensor | None = None
    rejected_of: Tensor | None = None

    def scores(self, image: EmbeddedImage) -> Tensor:
        points = self.representatives if self.base is None else stacked(self.representatives, self.base)
        d2 = squared_distances(image.embeddings[self.space], points)  # (P, N + N_b, K)
        if self.rejected is not None:
            away = squared_distances(image.embeddings[self.space], self.rejected)
            d2 = lengthened(d2, away, self.rejected_of, self.rule.negative_weight)
        return scores_at(d2, self.rule)[:, : len(self.representatives)]

    def rejecting(self, embeddings: Tensor, number: int) -> "NearestRepresentative":
        """With embeddings (n, e) that are none of a class."""
        by_class = self._rejections()
        by_class[number] = torch.cat([by_class[number], embeddings]) if number in by_class else embeddings
        return self._with(by_class)

    def without(self, number: int) -> "NearestRepresentative":
        """Without a class."""
        points = torch.cat([self.representatives[:number], self.representatives[number + 1 :]])
        kept = {c - (c > number): values for c, values in self._rejections().items() if c != number}
        return replace(self, representatives=points)._with(kept)

    def _rejections(self) -> dict[int, Tensor]:
        return {} if self.rejected is None else dict(zip(self.rejected_of.tolist(), self.rejected, strict=True))

    def _with(self, by_class: dict[int, Tensor]) -> "NearestRepresentative":
        if not by_class:
            return replace(self, rejected=None, rejected_of=None)
        return replace(self, rejected=padded(list(by_class.values())), rejected_of=torch.tensor(list(by_class)))
