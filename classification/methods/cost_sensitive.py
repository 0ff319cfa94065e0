"""What the methods that know the costs of mistakes share."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from repmet.classification.inputs.costs import Costs, read_costs
from repmet.classification.methods.base import Method
from repmet.errors import UserError


class CostSensitive(Method):
    """What these methods share: scores of the classes, (B, K), of which the highest decides, and the costs.

    Args:
        encoder, head, kwargs: as `Method`.
        classes: names of the K classes; they follow from the training set.
        costs: what the training knows of mistakes, see `classification.inputs.costs.read_costs`; None: nothing.
    """

    def __init__(
        self,
        encoder: Mapping[str, Any],
        head: Mapping[str, Any] | None = None,
        *,
        classes: Sequence[str],
        costs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(encoder, head, **kwargs)
        self.num_classes = len(classes)
        self.costs: Costs | None = None if costs is None else read_costs(costs, classes)

    @classmethod
    def size(cls, model: dict, labels: Tensor, classes: Sequence[str], batch: Mapping[str, Any]) -> None:
        model["classes"] = list(classes)

    def needed(self, what: str) -> Costs:
        """The costs.

        Raises:
            ValueError: there are none.
        """
        if self.costs is None:
            raise UserError(f"model.costs is not given: {what} needs it, for instance {{tree: my_tree.yaml}}")
        return self.costs

    def scores(self, embeddings: Tensor) -> Tensor:
        """Embeddings (B, e) -> (B, K)."""
        raise NotImplementedError

    def data_loss(self, scores: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(scores, labels)

    def loss(self, embeddings: Tensor, labels: Tensor, indices: Tensor) -> dict[str, Tensor]:
        scores = self.scores(embeddings)
        right = (scores.detach().argmax(-1) == labels).float().mean()
        return {"loss": self.data_loss(scores, labels), "accuracy": right}

    def predict(self, embeddings: Tensor) -> Tensor:
        return self.scores(embeddings).argmax(-1)

    def other_rules(self, embeddings: Tensor) -> dict[str, Tensor]:
        return {"classifier": self.predict(embeddings)}


def called(target: Any, where: str, options: Mapping[str, Any] | None, *arguments: Any) -> Any:
    """`target(*given, **options)`, where the options are of a YAML.

    Raises:
        ValueError: an option that it does not have, or that is given already.
    """
    known = list(inspect.signature(target).parameters)[len(arguments) :]
    if unknown := [name for name in options or {} if name not in known]:
        raise UserError(f"{where} has no {unknown[0]!r}; it has {', '.join(known)}")
    return target(*arguments, **(options or {}))
