"""Training without episodes: every image of a batch is to lie near the others of its class (Laenen and Bertinetto 2021)."""

from collections.abc import Mapping
from typing import Any

from mmengine.registry import MODELS
from torch import Tensor

from repmet.classification.methods.base import Method
from repmet.errors import UserError
from repmet.model_definitions.losses.neighbourhood_components import neighbourhood_components_loss


@MODELS.register_module()
class NeighbourhoodComponents(Method):
    """The loss of `model_definitions.losses.neighbourhood_components` on whole batches; new classes by the means of their
    support.

    Where Prototypical Networks compare W * Q queries with W means of S images, this compares all pairs of a batch: no
    division into classes, support and queries is needed.

    Args:
        encoder, head, kwargs: as `Method`.
        temperature: of the loss, in squared distances.

    Raises:
        ValueError: a temperature that is not positive.
    """

    title = "NCA"

    def __init__(
        self,
        encoder: Mapping[str, Any],
        head: Mapping[str, Any] | None = None,
        *,
        temperature: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(encoder, head, **kwargs)
        if temperature <= 0:
            raise UserError(f"NeighbourhoodComponents: temperature must be positive, got {temperature}")
        self.temperature = temperature

    def loss(self, embeddings: Tensor, labels: Tensor, indices: Tensor) -> dict[str, Tensor]:
        loss, right = neighbourhood_components_loss(embeddings, labels, self.temperature)
        return {"loss": loss, "accuracy": right.float().mean() if len(right) else loss.detach()}
