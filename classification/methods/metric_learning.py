"""Any loss of pytorch-metric-learning, with any of its miners: triplets first of all."""

import difflib
import inspect
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

from mmengine.registry import MODELS
from torch import Tensor, nn

from classification.methods.base import Method


@MODELS.register_module()
class MetricLearning(Method):
    """Trains an embedding by a loss of pytorch-metric-learning (K. Musgrave, S. Belongie, S. Lim, 2020).

    Args:
        encoder, head, kwargs: as `Method`.
        loss: {name: a class of `pytorch_metric_learning.losses`, and its arguments}. `num_classes` and `embedding_size`,
            where it asks for them, follow from the training set and the embedding. Its weights, if any, are trained too.
        miner: {name: a class of `pytorch_metric_learning.miners`, and its arguments}; None: all pairs or triplets.
        num_classes: follows from the training set.

    Raises:
        ValueError: no such loss or miner (with the nearest), or an argument that it does not take.
    """

    def __init__(
        self,
        encoder: Mapping[str, Any],
        head: Mapping[str, Any] | None = None,
        *,
        loss: Mapping[str, Any],
        miner: Mapping[str, Any] | None = None,
        num_classes: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(encoder, head, **kwargs)
        from pytorch_metric_learning import losses, miners  # slow to import, and no other method needs them

        self.title = "Triplet" if loss.get("name") == "TripletMarginLoss" else str(loss.get("name"))
        sizes = {"num_classes": num_classes, "embedding_size": self.out_channels}
        self.criterion = _build(losses, loss, sizes)
        self.miner = None if miner is None else _build(miners, miner, sizes)

    @classmethod
    def size(cls, model: dict, labels: Tensor, classes: Sequence[str], batch: Mapping[str, Any]) -> None:
        model["num_classes"] = len(classes)

    def loss(self, embeddings: Tensor, labels: Tensor, indices: Tensor) -> dict[str, Tensor]:
        mined = None if self.miner is None else self.miner(embeddings, labels)
        return {"loss": self.criterion(embeddings, labels, mined)}


def _build(module: ModuleType, section: Mapping[str, Any], sizes: Mapping[str, Any]) -> nn.Module:
    arguments = dict(section)
    name = arguments.pop("name", None)
    known = [n for n, value in vars(module).items() if inspect.isclass(value) and issubclass(value, nn.Module)]
    kind = module.__name__.rpartition(".")[2]
    if name not in known:
        near = difflib.get_close_matches(str(name), known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(sorted(known))}"
        raise ValueError(f"pytorch-metric-learning has no {name!r} among its {kind}; {hint}")
    built = getattr(module, name)
    asked = inspect.signature(built).parameters
    try:
        return built(**{key: value for key, value in sizes.items() if key in asked} | arguments)
    except TypeError as error:
        raise ValueError(f"{name} of pytorch-metric-learning's {kind}: {error}") from None
