"""Prototypical Networks (J. Snell, K. Swersky, R. Zemel, NeurIPS 2017)."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.registry import MODELS
from torch import Tensor

from repmet.classification.methods.base import Method
from repmet.errors import UserError
from repmet.model_definitions.losses.prototypical import prototypical_loss


@MODELS.register_module()
class ProtoNet(Method):
    """Learns by episodes: a query belongs to the class whose mean support embedding is nearest.

    `c_k = 1/S sum f(x_i)` over the class's support (eq. 1), `p(y = k | x) = softmax_k(-d(f(x), c_k))` (eq. 2), loss
    `-log p(y | x)` over the queries. Batch norm sees support and queries together.

    Args:
        encoder, head, kwargs: as `Method`.
        way: classes of a training episode. shot: support images of each. Both follow from the batch sampler.
        distance: "squared_euclidean" or "cosine".
    """

    title = "Prototypical Networks"

    def __init__(
        self,
        encoder: Mapping[str, Any],
        head: Mapping[str, Any] | None = None,
        *,
        way: int,
        shot: int,
        distance: str = "squared_euclidean",
        **kwargs: Any,
    ) -> None:
        super().__init__(encoder, head, **kwargs)
        self.way, self.shot, self.distance = way, shot, distance

    @classmethod
    def size(cls, model: dict, labels: Tensor, classes: Sequence[str], batch: Mapping[str, Any]) -> None:
        if batch.get("type") != "EpisodeBatchSampler":
            raise UserError("ProtoNet learns by episodes: train_dataloader.batch_sampler is an EpisodeBatchSampler")
        model |= {"way": batch["way"], "shot": batch["shot"]}

    def loss(self, embeddings: Tensor, labels: Tensor, indices: Tensor) -> dict[str, Tensor]:
        support, query = embeddings.split((self.way * self.shot, len(embeddings) - self.way * self.shot))
        loss, accuracy = episode_loss(support, query, self.way, self.distance)
        return {"loss": loss, "accuracy": accuracy}


def episode_loss(support: Tensor, query: Tensor, way: int, distance: str) -> tuple[Tensor, Tensor]:
    """Loss and accuracy of one episode, from support (way * S, e) and queries (way * Q, e), both class by class."""
    loss, log_probabilities = prototypical_loss(support, query, way, distance)
    predicted = log_probabilities.argmax(-1).unflatten(0, (way, -1))  # (way, Q)
    truth = predicted.new_tensor(range(way)).unsqueeze(1)
    return loss, (predicted == truth).float().mean()
