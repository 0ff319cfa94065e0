"""Batch samplers: a batch is an episode, or some images of each of some classes, or of each of some clusters.

mmengine builds them as `batch_sampler` of a data loader, with the loader's sampler and batch size; from the first they take
the data set with its labels, the second they do not need. Random numbers come from torch's default generator and are
drawn batch by batch, so that a training that is reseeded by epoch or iteration resumes exactly.
"""

from collections.abc import Iterator
from typing import Any

import torch
from mmengine.registry import DATA_SAMPLERS
from torch import Tensor

from repmet.classification.inputs.groups import class_groups
from repmet.errors import UserError


class ClassDraws:
    """Draws classes, and images of each, uniformly and without replacement.

    Args:
        labels: (n,) int64, 0 .. N-1.
        classes: their N names, for messages.
        per_class: images to be drawn of a class; every class needs as many.

    Raises:
        ValueError: a class has fewer images.
    """

    def __init__(self, labels: Tensor, classes: tuple[str, ...], per_class: int) -> None:
        self.counts = torch.bincount(labels, minlength=len(classes))  # (N,)
        self.order = torch.argsort(labels, stable=True)  # (n,) indices, class by class
        self.starts = torch.cumsum(self.counts, 0) - self.counts  # (N,) where a class begins in `order`
        self.per_class = per_class
        if few := torch.nonzero(self.counts < per_class).flatten().tolist():
            listed = ", ".join(f"{classes[c]!r} has {self.counts[c]}" for c in few[:5])
            more = f" and {len(few) - 5} more" if len(few) > 5 else ""
            raise UserError(f"{per_class} images of each class are needed in a batch, but {listed}{more}")

    def draw(self, ways: int, among: Tensor | None = None) -> Tensor:
        """Indices (ways, per_class) of images of `ways` classes (of those in `among`), one class a row."""
        chosen = torch.randperm(len(self.counts) if among is None else len(among))[:ways]  # (ways,)
        if among is not None:
            chosen = among[chosen]
        counts = self.counts[chosen, None]  # (ways, 1)
        # The places of the smallest of independent uniform numbers are a uniform draw without replacement.
        keys = torch.rand(ways, int(counts.max()))
        keys.masked_fill_(torch.arange(keys.shape[1]) >= counts, 2.0)
        places = keys.topk(self.per_class, dim=1, largest=False).indices  # (ways, per_class)
        return self.order[self.starts[chosen, None] + places]


class _LabelBatchSampler:
    """What the samplers share: the labelled data set behind a sampler, the number of batches, and who draws one."""

    def __init__(self, sampler: Any, batches: int) -> None:
        dataset = getattr(sampler, "dataset", None)
        if not hasattr(dataset, "labels") or not hasattr(dataset, "classes"):
            raise UserError(f"{type(self).__name__} needs a data set with labels and classes, got {type(dataset).__name__}")
        if batches < 1:
            raise UserError(f"{type(self).__name__}: at least one batch an epoch, got {batches}")
        self.sampler = sampler  # mmengine asks it for set_epoch
        self.labels, self.classes, self.batches = dataset.labels, dataset.classes, batches

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[list[int]]:
        for _ in range(self.batches):
            yield self.draw().tolist()

    def draw(self) -> Tensor:
        raise NotImplementedError

    def check_numbers(self, **numbers: int) -> None:
        for name, number in numbers.items():
            if number < 1:
                raise UserError(f"{type(self).__name__}: {name} must be at least 1, got {number}")

    def check_classes(self, name: str, number: int) -> None:
        if number > len(self.classes):
            raise UserError(f"{type(self).__name__}: {name}={number} classes a batch, but there are {len(self.classes)}")


@DATA_SAMPLERS.register_module()
class EpisodeBatchSampler(_LabelBatchSampler):
    """N-way K-shot episodes (Snell et al. 2017, algorithm 1): a batch is the support set, then the query set.

    For every episode `way` classes are drawn without replacement, and of each class `shot` + `query` images. The batch
    holds way * shot support images, class by class, then way * query query images, class by class in the same order.

    Args:
        sampler: of the data loader; its `dataset` has `labels` (n,) and `classes`.
        batch_size: as mmengine hands it on; an episode's size is way * (shot + query).
        way, shot, query: classes, support and query images of each.
        episodes: in an epoch (on each of several processes).

    Raises:
        ValueError: way is less than 2 or more than there are classes; a class has fewer than shot + query images; the data
            set has no labels.
    """

    def __init__(
        self, sampler: Any, batch_size: int | None = None, *, way: int, shot: int, query: int, episodes: int = 100
    ) -> None:
        super().__init__(sampler, episodes)
        self.check_numbers(shot=shot, query=query)
        if way < 2:
            raise UserError(f"EpisodeBatchSampler: way={way}; with fewer than two classes there is nothing to tell apart")
        self.check_classes("way", way)
        self.way, self.shot, self.query = way, shot, query
        self.draws = ClassDraws(self.labels, self.classes, shot + query)

    def draw(self) -> Tensor:
        """Indices (way * (shot + query),) of one episode."""
        indices = self.draws.draw(self.way)  # (way, shot + query)
        return torch.cat([indices[:, : self.shot].flatten(), indices[:, self.shot :].flatten()])


@DATA_SAMPLERS.register_module()
class ClassBatchSampler(_LabelBatchSampler):
    """m classes, drawn without replacement, and d images of each: class by class.

    Args:
        sampler, batch_size: as for `EpisodeBatchSampler`.
        classes: m. per_class: d.
        batches: in an epoch (on each of several processes).
        groups: the classes of a batch are of so many groups (see `class_groups`), equally many of each, such as characters
            of few alphabets: negatives are hard ones. A group is drawn by how many classes it has. None: of the whole set.

    Raises:
        ValueError: more classes than there are, or than a group has; a number of classes that the groups do not divide, more
            groups than there are; a class has fewer than `per_class` images; the data set has no labels.
    """

    def __init__(
        self,
        sampler: Any,
        batch_size: int | None = None,
        *,
        classes: int,
        per_class: int,
        batches: int,
        groups: int | None = None,
    ) -> None:
        super().__init__(sampler, batches)
        self.check_numbers(classes=classes, per_class=per_class)
        self.check_classes("classes", classes)
        self.ways, self.draws = classes, ClassDraws(self.labels, self.classes, per_class)
        self.groups, self.members = groups, []
        if groups is not None:
            self.check_numbers(groups=groups)
            of_class = class_groups(self.classes)
            self.members = [torch.nonzero(of_class == group).flatten() for group in range(int(of_class.max()) + 1)]
            smallest = min(len(members) for members in self.members)
            if classes % groups or groups > len(self.members) or classes // groups > smallest:
                raise UserError(
                    f"ClassBatchSampler: {classes} classes of {groups} groups, as many of each; there are "
                    f"{len(self.members)} groups, the smallest of {smallest} classes"
                )

    def draw(self) -> Tensor:
        """Indices (m * d,) of one batch."""
        if self.groups is None:
            return self.draws.draw(self.ways).flatten()
        sizes = torch.tensor([len(members) for members in self.members], dtype=torch.float)
        chosen = torch.multinomial(sizes, self.groups).tolist()
        each = self.ways // self.groups
        return torch.cat([self.draws.draw(each, self.members[group]).flatten() for group in chosen])


@DATA_SAMPLERS.register_module()
class ClusterBatchSampler(_LabelBatchSampler):
    """M neighbouring clusters and D images of each, as Magnet loss takes them (Rippel et al. 2016, section 3.2).

    `index` (a `model_definitions.cluster_index.ClusterIndex`) draws the batch: a seed cluster, its nearest impostors, images
    of each. Whoever computes the index sets it here; until then a batch is min(M, N) classes with D images each.

    Args:
        sampler, batch_size: as for `EpisodeBatchSampler`.
        clusters: M. per_cluster: D.
        batches: in an epoch (on each of several processes).

    Raises:
        ValueError: fewer than two clusters or classes; a class has fewer than D images; the data set has no labels.
    """

    def __init__(
        self, sampler: Any, batch_size: int | None = None, *, clusters: int, per_cluster: int, batches: int
    ) -> None:
        super().__init__(sampler, batches)
        self.check_numbers(clusters=clusters, per_cluster=per_cluster)
        if clusters < 2 or len(self.classes) < 2:
            raise UserError(
                f"ClusterBatchSampler: clusters={clusters} of {len(self.classes)} class(es); an impostor needs two of both"
            )
        self.clusters, self.per_cluster = clusters, per_cluster
        self.draws = ClassDraws(self.labels, self.classes, per_cluster)
        self.index: Any = None

    def draw(self) -> Tensor:
        """Indices (M * D,) of one batch."""
        if self.index is None:
            return self.draws.draw(min(self.clusters, len(self.classes))).flatten()
        indices, _ = self.index.draw(self.clusters, self.per_cluster)
        return indices
