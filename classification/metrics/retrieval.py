"""Retrieval: how the nearest neighbours of a query compare with its class. Exact, in torch, block by block.

With R the number of references of the query's class, the query itself left out:

    recall@k     is any of the k nearest of the class (K. Musgrave et al., ECCV 2020, call recall@1 precision@1)
    R-precision  the share of the class among the R nearest
    MAP@R        `1/R sum_{i <= R} P(i) rel(i)`, with P(i) the precision among the i nearest
    mAP          the same sum over all references (average precision)

A query is left out of its own references by its index, not by its distance, so that duplicates count; a query without any
reference of its class has no figures. Of references exactly as near as each other, any may come first. Shape legend: n
queries, m references, e dimensions, b queries of a block.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from repmet.errors import UserError

METRICS = ("cosine", "euclidean")
_BLOCK = 1 << 26  # similarities at a time: 256 MB


@dataclass(frozen=True)
class Retrieval:
    """Figures of every query that has a reference of its class.

    queries: (q,) indices of these. recall: by k (q,) bool. r_precision, map_at_r: (q,). average_precision: (q,), or None
    unless asked for. nearest: (q,) indices of the nearest references. similarity: (q,), cosine, or minus the distance.
    """

    queries: Tensor
    recall: Mapping[int, Tensor]
    r_precision: Tensor
    map_at_r: Tensor
    average_precision: Tensor | None
    nearest: Tensor
    similarity: Tensor

    @property
    def correct(self) -> Tensor:
        """(q,) whether the nearest reference is of the query's class."""
        return self.recall[1]

    def means(self) -> dict[str, float]:
        """By name, such as `recall@1` and `MAP@R`, means over the queries."""
        figures = {f"recall@{k}": hit for k, hit in self.recall.items()}
        figures |= {"R-precision": self.r_precision, "MAP@R": self.map_at_r}
        if self.average_precision is not None:
            figures["mAP"] = self.average_precision
        return {name: values.double().mean().item() for name, values in figures.items()}


@torch.no_grad()
def retrieve(
    embeddings: Tensor,
    labels: Tensor,
    references: Tensor | None = None,
    reference_labels: Tensor | None = None,
    *,
    metric: str = "cosine",
    recall_at: Sequence[int] = (1, 2, 4, 8),
    whole_ranking: bool = False,
) -> Retrieval:
    """Retrieves every query among the references, or among the other queries where there are none.

    Args:
        embeddings: (n, e), labels: (n,), any integers. references: (m, e), reference_labels: (m,).
        metric: "cosine" or "euclidean".
        recall_at: the k of recall@k, 1 among them in any case.
        whole_ranking: mAP too, which takes the ranks of all references of the class.

    Raises:
        ValueError: shapes that do not fit, embeddings that are not finite, an unknown metric, k out of range, no query
            with a reference of its class.
    """
    exclude_self = references is None
    if exclude_self:
        references, reference_labels = embeddings, labels
    check(embeddings, labels, references, reference_labels, metric)
    ks = sorted({1, *recall_at})
    available = len(references) - exclude_self
    if ks[0] < 1 or ks[-1] > available:
        raise UserError(f"recall@k takes k from 1 to {available}, the number of references, not {ks[0]}..{ks[-1]}")
    classes, codes = torch.cat([reference_labels, labels]).unique(return_inverse=True)
    reference_codes, codes = codes[: len(references)], codes[len(references) :]
    members = torch.bincount(reference_codes, minlength=len(classes))
    positives = members[codes] - int(exclude_self)  # (n,), R
    if not (positives > 0).any():
        raise UserError("no query has a reference of its class: there is nothing to retrieve")
    depth = min(max(ks[-1], int(positives.max())), available)
    table = _Members(reference_codes, members)
    parts: dict[str, list[Tensor]] = {name: [] for name in ("index", "similarity", "hits", "ap")}
    for rows, similarity in similarities(embeddings, references, metric, exclude_self):
        value, index = largest(similarity, depth)
        parts["index"].append(index[:, 0].clone())
        parts["similarity"].append(value[:, 0].clone())
        parts["hits"].append(reference_codes[index] == codes[rows, None])
        if whole_ranking:
            parts["ap"].append(_average_precision(similarity[:, : len(references)], table, rows, codes[rows], exclude_self))
    hits, nearest, best = (torch.cat(parts[name]) for name in ("hits", "index", "similarity"))
    if metric == "euclidean":
        best = -(embeddings - references[nearest]).norm(dim=1)
    queries = (positives > 0).nonzero().flatten()
    hits, r = hits[queries], positives[queries, None]  # (q, depth), (q, 1)
    rank = torch.arange(1, depth + 1, device=hits.device)
    within = hits & (rank <= r)
    precision = within.cumsum(1).double() / rank
    return Retrieval(
        queries=queries,
        recall={k: hits[:, :k].any(1) for k in ks},
        r_precision=within.sum(1).double() / r[:, 0],
        map_at_r=(precision * within).sum(1) / r[:, 0],
        average_precision=torch.cat(parts["ap"])[queries] if whole_ranking else None,
        nearest=nearest[queries],
        similarity=best[queries],
    )


def check(embeddings: Tensor, labels: Tensor, references: Tensor, reference_labels: Tensor | None, metric: str) -> None:
    """Raises ValueError unless these are queries and references of one dimension, labelled and finite."""
    if metric not in METRICS:
        raise UserError(f"retrieval is by {' or '.join(METRICS)}, not {metric!r}")
    shapes = tuple(embeddings.shape), tuple(references.shape)
    if len(shapes[0]) != 2 or len(shapes[1]) != 2 or shapes[0][1] != shapes[1][1] or not len(embeddings):
        raise UserError(f"retrieval takes embeddings (n, e) and references (m, e), not {shapes[0]} and {shapes[1]}")
    if reference_labels is None or labels.shape != shapes[0][:1] or reference_labels.shape != shapes[1][:1]:
        shape = None if reference_labels is None else tuple(reference_labels.shape)
        raise UserError(f"retrieval takes a label for each embedding, not {tuple(labels.shape)} and {shape}")
    if not (embeddings.isfinite().all() and references.isfinite().all()):
        raise UserError("retrieval takes finite embeddings")


def similarities(embeddings: Tensor, references: Tensor, metric: str, exclude_self: bool) -> Iterator[tuple[slice, Tensor]]:
    """Blocks of (b, m') similarities that rank as the metric does, in one buffer that is written over.

    m' is m rounded up to a multiple of the size of `largest`'s groups; what is added, and each query itself where the
    references are the queries (`exclude_self`), is -inf.
    """
    dtype = torch.promote_types(embeddings.dtype, torch.float32)
    queries, known = embeddings.to(dtype), references.to(dtype)
    offset = None
    if metric == "cosine":
        queries = F.normalize(queries, dim=1)
        known = queries if exclude_self else F.normalize(known, dim=1)
    else:  # -|q - x|^2 / 2 = q.x - |x|^2 / 2, up to what depends on q alone; about the mean, where digits are not lost
        centre = known.mean(0)
        queries, known = queries - centre, known - centre
        offset = known.square().sum(1) / -2
    m = len(known)
    step = max(1, _BLOCK // m)
    buffer = queries.new_empty(min(step, len(queries)), m)
    for start in range(0, len(queries), step):
        rows = slice(start, min(start + step, len(queries)))
        block = buffer[: rows.stop - start]
        if offset is None:
            torch.mm(queries[rows], known.T, out=block)
        else:
            torch.addmm(offset, queries[rows], known.T, out=block)
        if exclude_self:
            block.diagonal(start).fill_(-torch.inf)
        yield rows, block


def largest(similarity: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest of each row, falling, and their columns: as `topk`, and faster where k is small against m.

    Columns are put into about sqrt(m k) groups. The k largest numbers lie in the k groups with the largest maxima, and the
    maxima of groups are found by comparing whole stretches of a row.
    """
    m = similarity.shape[1]
    size = int(math.sqrt(m / k))
    width = m // max(size, 1)
    if size < 4:
        return similarity.topk(k, dim=1)
    whole = size * width  # what is left over is fewer than `size` columns
    grouped = similarity[:, :whole].unflatten(1, (size, width))  # (b, size, width)
    groups = grouped.amax(1).topk(k, dim=1, sorted=False).indices  # (b, k)
    candidates = grouped.gather(2, groups[:, None].expand(-1, size, -1)).flatten(1)  # (b, size k)
    columns = (groups[:, None] + torch.arange(size, device=groups.device)[:, None] * width).flatten(1)
    if whole < m:
        rest = torch.arange(whole, m, device=groups.device).expand(len(columns), -1)
        candidates, columns = torch.cat([candidates, similarity[:, whole:]], 1), torch.cat([columns, rest], 1)
    value, place = candidates.topk(k, dim=1)
    return value, columns.gather(1, place)


class _Members:
    """The references of each class, as a table."""

    def __init__(self, codes: Tensor, counts: Tensor) -> None:
        self.order, self.counts = torch.argsort(codes, stable=True), counts
        self.starts = counts.cumsum(0) - counts

    def of(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """(b, R) columns of each class, padded, and which are no padding."""
        place = torch.arange(int(self.counts[codes].max()), device=codes.device)
        valid = place < self.counts[codes, None]
        return self.order[(self.starts[codes, None] + place).clamp_max(len(self.order) - 1)], valid


def _average_precision(similarity: Tensor, table: _Members, rows: slice, codes: Tensor, exclude_self: bool) -> Tensor:
    """(b,) of a block, by counting how many others are nearer than each reference of the class; NaN without any.

    The block's similarities to the class are written over.
    """
    columns, valid = table.of(codes)
    if exclude_self:
        valid = valid & (columns != torch.arange(rows.start, rows.stop, device=columns.device)[:, None])
    wanted = similarity.gather(1, columns).masked_fill(~valid, torch.inf).sort(1).values  # (b, R), rising, padding last
    similarity.scatter_(1, columns.where(valid, columns[:, :1]), -torch.inf)
    nearer = torch.searchsorted(wanted, similarity)  # (b, m), how many of the class are less near than each other one
    histogram = torch.zeros(len(wanted), wanted.shape[1] + 1, dtype=torch.long, device=wanted.device)
    histogram.scatter_add_(1, nearer, torch.ones((), dtype=torch.long, device=wanted.device).expand_as(nearer))
    others = histogram.flip(1).cumsum(1).flip(1)[:, 1:]  # (b, R), others that are nearer than the i-th
    number = valid.sum(1, keepdim=True)
    among = (number - torch.arange(wanted.shape[1], device=wanted.device)).clamp_min(0)  # its rank within the class
    return (among.double() / (among + others).clamp_min(1)).sum(1) / number[:, 0]
