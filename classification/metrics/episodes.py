"""N-way K-shot episodes as index tensors, drawn by seed, and their accuracies over embeddings computed once.

Protocol (Vinyals et al. 2016; Snell et al. 2017, algorithm 1): an episode has `way` classes drawn uniformly without
replacement, and of each class `shot` support images and `query` other ones. Shape legend: E episodes, n images, C classes,
e embedding dimensions.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from repmet.errors import UserError
from repmet.model_definitions.representatives import squared_distances

PROTOTYPES = ("mean", "all")
DISTANCES = ("squared_euclidean", "cosine")
_SHOWN = 5
_BLOCK = 1 << 20  # numbers gathered at a time: the least time from 2^19 to 2^22 at 64 and at 1600 dimensions


@dataclass(frozen=True)
class Episodes:
    """Episodes as indices into one labelled set.

    Attributes:
        classes: (E, way) int32, class ids; an episode's predictions number its classes 0..way-1 in this order.
        support: (E, way, shot) int32, images.
        query: (E, way, queries) int32, images.

    Raises:
        ValueError: the shapes do not belong together, or one of them is empty.
    """

    classes: Tensor
    support: Tensor
    query: Tensor

    def __post_init__(self) -> None:
        shapes = [tuple(t.shape) for t in (self.classes, self.support, self.query)]
        if [len(s) for s in shapes] != [2, 3, 3] or not shapes[0] == shapes[1][:2] == shapes[2][:2] or 0 in sum(shapes, ()):
            raise UserError(
                "episodes are classes (E, way), support (E, way, shot) and query (E, way, queries), none empty, not "
                + ", ".join(map(str, shapes))
            )
        for name in ("classes", "support", "query"):
            object.__setattr__(self, name, getattr(self, name).to("cpu", torch.int32).contiguous())

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def way(self) -> int:
        return self.classes.shape[1]

    @property
    def shot(self) -> int:
        return self.support.shape[2]

    @property
    def queries(self) -> int:
        """Query images of a class."""
        return self.query.shape[2]

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the content: figures may be paired where it is equal."""
        digest = hashlib.sha256(f"{len(self)} {self.way} {self.shot} {self.queries}".encode())
        for tensor in (self.classes, self.support, self.query):
            digest.update(tensor.numpy().astype("<i4").tobytes())
        return digest.hexdigest()

    def check(self, labels: Tensor) -> None:
        """Makes sure that the episodes are of the set with these labels (n,) and keep the protocol.

        Raises:
            ValueError: an index is not in the set, an image is of another class, or a class or image comes twice.
        """
        images = torch.cat([self.support, self.query], 2).long()  # (E, way, shot + queries)
        if images.min() < 0 or images.max() >= len(labels):
            raise UserError(f"the episodes use images {images.min()}..{images.max()}, the set has {len(labels)}")
        wrong = labels.cpu()[images] != self.classes.unsqueeze(2)
        if wrong.any():
            e, w, _ = wrong.nonzero()[0].tolist()
            raise UserError(
                f"the episodes are of another set: episode {e} has images of other classes under class {self.classes[e, w]}"
            )
        for what, values in (("a class", self.classes.long()), ("an image", images.flatten(1))):
            twice = (values.sort(1).values.diff(dim=1) == 0).any(1)
            if twice.any():
                raise UserError(f"episode {twice.nonzero()[0].item()} holds {what} twice")


def sample_episodes(
    labels: Tensor, way: int, shot: int, query: int, episodes: int, seed: int, groups: Tensor | None = None
) -> Episodes:
    """Draws episodes; equal on all platforms and versions of torch and numpy.

    The first episodes do not depend on how many are drawn. Of one seed, the classes depend on `way` alone, the queries not
    on `shot`, and the support of fewer shots is the beginning of that of more: shots are compared on equal terms.

    Args:
        labels: (n,) class ids, any whole numbers from 0.
        query: query images of a class.
        groups: (C,) by class id the number of its group. An episode then has classes of one group, drawn uniformly among
            the groups that have classes here: the within-alphabet task of Lake et al. 2015.

    Raises:
        ValueError: a number below 1, a class with too few images, too few classes (in a group), each with the counts.
    """
    if min(way, shot, query, episodes) < 1 or seed < 0:
        raise UserError(
            f"way {way}, shot {shot}, query {query} and episodes {episodes} are at least 1, seed {seed} at least 0"
        )
    if labels.dim() != 1 or labels.is_floating_point() or (len(labels) and labels.min() < 0):
        raise UserError(f"labels are class ids (n,) from 0, not {labels.dtype} {tuple(labels.shape)}")
    labels = labels.cpu()
    classes, counts = torch.unique(labels, return_counts=True)  # (C',), ascending
    _check_images(classes, counts, shot, query)
    members = _members(classes, groups, way)
    chosen = _classes(members, way, episodes, seed)  # (E, way) positions in `classes`
    images = _images(counts[chosen].numpy(), shot, query, seed)  # (E, way, query + shot), below the count of the class
    order = torch.argsort(labels, stable=True)
    first = counts.cumsum(0) - counts
    images = order[first[chosen].unsqueeze(2) + torch.from_numpy(images)]
    return Episodes(classes[chosen], images[..., query:], images[..., :query])


def episode_predictions(
    embeddings: Tensor, episodes: Episodes, prototypes: str = "mean", distance: str = "squared_euclidean"
) -> Tensor:
    """Nearest prototype of every query, a position in its episode's classes; of tied ones the first.

    Args:
        embeddings: (n, e), the whole set's, on any device.
        prototypes: "mean", one a class (Prototypical Networks); "all", every support image (nearest neighbour).
        distance: "squared_euclidean", or "cosine": the former between vectors of unit length, `2 - 2 cos`.

    Returns:
        (E, way, queries) int64, values 0..way-1, on the embeddings' device.

    Raises:
        ValueError: an unknown name, embeddings of another shape, fewer than the episodes use, or not finite.
    """
    for name, value, known in (("prototypes", prototypes, PROTOTYPES), ("distance", distance, DISTANCES)):
        if value not in known:
            raise UserError(f"{name} is one of {', '.join(known)}, not {value!r}")
    if embeddings.dim() != 2:
        raise UserError(f"embeddings are (n, e), not {tuple(embeddings.shape)}")
    needed = int(max(episodes.support.max(), episodes.query.max())) + 1
    if len(embeddings) < needed:
        raise UserError(f"the episodes use {needed} images or more, there are embeddings of {len(embeddings)}")
    embeddings = embeddings.detach()
    if not embeddings.isfinite().all():
        raise UserError(f"{int((~embeddings.isfinite()).any(1).sum())} of {len(embeddings)} embeddings are not finite")
    unit = distance == "cosine"
    if unit and prototypes == "all":  # nothing is averaged: normalise once
        embeddings, unit = F.normalize(embeddings, dim=-1), False
    per_episode = episodes.way * (episodes.shot + episodes.queries) * embeddings.shape[1]
    size = max(1, _BLOCK // per_episode)
    parts = [
        _nearest(embeddings, support.to(embeddings.device), query.to(embeddings.device), prototypes, unit)
        for support, query in zip(episodes.support.split(size), episodes.query.split(size), strict=True)
    ]
    return torch.cat(parts)


def episode_accuracies(
    embeddings: Tensor, episodes: Episodes, prototypes: str = "mean", distance: str = "squared_euclidean"
) -> Tensor:
    """Fraction of right queries in every episode, (E,) float64 on the CPU; arguments of `episode_predictions`."""
    predicted = episode_predictions(embeddings, episodes, prototypes, distance)  # (E, way, queries)
    truth = torch.arange(episodes.way, device=predicted.device).unsqueeze(1)
    return (predicted == truth).flatten(1).double().mean(1).cpu()


def _nearest(embeddings: Tensor, support: Tensor, query: Tensor, prototypes: str, unit: bool) -> Tensor:
    points = embeddings[support]  # (b, way, shot, e)
    if prototypes == "mean":
        points = points.mean(2, keepdim=True)  # (b, way, 1, e)
    queries = embeddings[query].flatten(1, 2)  # (b, way * queries, e)
    if unit:
        points, queries = F.normalize(points, dim=-1), F.normalize(queries, dim=-1)
    d2 = squared_distances(queries, points).amin(-1)  # (b, way * queries, way)
    return d2.argmin(-1).unflatten(1, query.shape[1:])


def _check_images(classes: Tensor, counts: Tensor, shot: int, query: int) -> None:
    few = counts < shot + query
    if few.any():
        shown = ", ".join(f"class {c}: {n}" for c, n in zip(classes[few][:_SHOWN], counts[few][:_SHOWN], strict=True))
        raise UserError(
            f"{int(few.sum())} of {len(classes)} classes have fewer than {shot} support + {query} query images: {shown}"
            + (", ..." if few.sum() > _SHOWN else "")
        )


def _members(classes: Tensor, groups: Tensor | None, way: int) -> list[np.ndarray]:
    """By group the positions of its classes."""
    if groups is None:
        if len(classes) < way:
            raise UserError(f"{way}-way episodes need {way} classes, the set has {len(classes)}")
        return [np.arange(len(classes))]
    if groups.dim() != 1 or not len(classes) or classes[-1] >= len(groups):
        raise UserError(f"groups {tuple(groups.shape)} must hold one number for every class of the set")
    of_class = groups.cpu()[classes].numpy()
    members = {int(g): np.flatnonzero(of_class == g) for g in np.unique(of_class)}
    few = [f"group {g}: {len(positions)}" for g, positions in members.items() if len(positions) < way]
    if few:
        raise UserError(f"{way}-way episodes need {way} classes in every group: " + ", ".join(few[:_SHOWN]))
    return list(members.values())


def _classes(members: list[np.ndarray], way: int, episodes: int, seed: int) -> Tensor:
    """(E, way) positions of classes, all of an episode in one group."""
    sizes = np.array([len(m) for m in members])
    table = np.zeros((len(members), sizes.max()), np.int64)
    for row, positions in zip(table, members, strict=True):
        row[: len(positions)] = positions
    group = _below(np.full((episodes, 1), len(members)), seed, 0)[:, 0]  # (E,)
    picked = _below(sizes[group, None] - np.arange(way), seed, 1)  # (E, way)
    return torch.from_numpy(table[group[:, None], _distinct(picked)])


def _images(counts: np.ndarray, shot: int, query: int, seed: int) -> np.ndarray:
    """(E, way, query + shot) different numbers below counts (E, way)."""
    columns = [_below(counts - k, seed, 2 + k) for k in range(query + shot)]
    return _distinct(np.stack(columns, -1))


def _below(bounds: np.ndarray, seed: int, stream: int) -> np.ndarray:
    """Uniform whole numbers 0..bound-1, one for each bound; the bias of the remainder is below bound / 2^64.

    The raw stream of PCG64 is fixed for ever, which the distributions of a numpy Generator are not. Streams of their own
    keep a draw independent of what else is drawn.
    """
    raw = np.random.PCG64([seed, stream]).random_raw(bounds.size).reshape(bounds.shape)
    return (raw % bounds.astype(np.uint64)).astype(np.int64)


def _distinct(code: np.ndarray) -> np.ndarray:
    """The permutation of a Lehmer code: column k of the code, in 0..n-1-k, counts the numbers not yet taken."""
    for k in reversed(range(code.shape[-1] - 1)):
        code[..., k + 1 :] += code[..., k + 1 :] >= code[..., k : k + 1]
    return code
