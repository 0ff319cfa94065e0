"""Samplers of pytorch-metric-learning in a data loader of mmengine:

train_dataloader:
  batch_size: 32
  sampler: {type: pml.MPerClassSampler, m: 4, batch_size: 32}
"""

from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.registry import DATA_SAMPLERS
from torch import Tensor

from repmet.classification.pml.parts import PREFIX, build
from repmet.errors import UserError


def adapt(loader: dict[str, Any]) -> None:
    """Turns a loader's `sampler` and `batch_sampler` of the package into sections that mmengine builds."""
    for key, adapter in (("sampler", "PmlSampler"), ("batch_sampler", "PmlBatchSampler")):
        section = loader.get(key)
        if isinstance(section, Mapping) and str(section.get("type")).startswith(PREFIX):
            loader[key] = {"type": adapter, "part": dict(section)}


def class_and_group(labels: Tensor, classes: tuple[str, ...]) -> Tensor:
    """(n, 2), the class and the group of each image, for `HierarchicalSampler`: a class's group is what its name has before
    the first `/`.

    Raises:
        ValueError: no class name has one.
    """
    groups = [name.partition("/")[0] for name in classes]
    if not any("/" in name for name in classes):
        raise UserError("HierarchicalSampler needs classes in groups, named `group/class`; these have none")
    numbers = {group: i for i, group in enumerate(sorted(set(groups)))}
    return Tensor.new_tensor(labels, [[c, numbers[groups[c]]] for c in labels.tolist()])


class _Adapter:
    """The package's sampler over the labels of a data set; it draws by numpy and torch, which the launcher seeds.

    Raises:
        ValueError: the data set has no labels, or what the package's sampler refuses.
    """

    def __init__(self, dataset: Any, part: Mapping[str, Any], key: str) -> None:
        if not hasattr(dataset, "labels"):
            raise UserError(f"{part['type']} needs a data set with labels, got {type(dataset).__name__}")
        hierarchical = str(part["type"]).removeprefix(PREFIX) == "HierarchicalSampler"
        labels = class_and_group(dataset.labels, dataset.classes) if hierarchical else dataset.labels
        self.wrapped = build(part, key, {"labels": labels})

    def __iter__(self) -> Iterator[Any]:
        return iter(self.wrapped)

    def __len__(self) -> int:
        return len(self.wrapped)


@DATA_SAMPLERS.register_module()
class PmlSampler(_Adapter):
    """A sampler of single images, such as MPerClassSampler.

    Args:
        dataset: as mmengine hands it on, with `labels`. part: the package's section. seed: of mmengine; not needed.
    """

    def __init__(self, dataset: Any, part: Mapping[str, Any], seed: int | None = None) -> None:
        super().__init__(dataset, part, "sampler")


@DATA_SAMPLERS.register_module()
class PmlBatchSampler(_Adapter):
    """A sampler of whole batches, such as HierarchicalSampler.

    Args:
        sampler: of the loader, whose data set has `labels` and `classes`. part: the package's section.
        batch_size: as mmengine hands it on; the package's section says its own.
    """

    def __init__(self, sampler: Any, part: Mapping[str, Any], batch_size: int | None = None) -> None:
        self.sampler = sampler  # mmengine asks it for set_epoch
        super().__init__(sampler.dataset, part, "batch_sampler")
