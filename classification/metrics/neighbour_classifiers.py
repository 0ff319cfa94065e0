"""Two classifiers on fixed embeddings, to judge them by: k nearest neighbours, and a linear support vector machine."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from repmet.classification.metrics.retrieval import check, largest, similarities
from repmet.errors import UserError


@torch.no_grad()
def knn_accuracy(
    embeddings: Tensor,
    labels: Tensor,
    references: Tensor | None = None,
    reference_labels: Tensor | None = None,
    *,
    k: int = 5,
    metric: str = "cosine",
) -> float:
    """Fraction of queries that the majority of their k nearest references classifies right; of tied classes the one whose
    nearest reference is the nearer wins. Without references each query is left out, by its index, and the others are asked.

    Raises:
        ValueError: those of `retrieve`; k out of range.
    """
    exclude_self = references is None
    if exclude_self:
        references, reference_labels = embeddings, labels
    check(embeddings, labels, references, reference_labels, metric)
    if not 1 <= k <= len(references) - exclude_self:
        raise UserError(f"k nearest neighbours takes k from 1 to {len(references) - exclude_self}, not {k}")
    classes, codes = reference_labels.unique(return_inverse=True)
    right = 0
    for rows, similarity in similarities(embeddings, references, metric, exclude_self):
        votes = codes[largest(similarity, k)[1]]  # (b, k), nearest first
        same = (votes[:, :, None] == votes[:, None]).sum(2)  # (b, k), votes of each one's class
        winner = votes.gather(1, same.argmax(1, keepdim=True))  # the first of the largest
        right += int((classes[winner[:, 0]] == labels[rows]).sum())
    return right / len(embeddings)


def linear_svm_accuracy(
    embeddings: Tensor,
    labels: Tensor,
    references: Tensor,
    reference_labels: Tensor,
    *,
    normalize: bool = True,
    seed: int = 0,
) -> float:
    """Fraction of queries that a linear SVM (one against the rest, C = 1), trained on the references, classifies right.

    Raises:
        ValueError: those of `retrieve`, references of a single class.
    """
    check(embeddings, labels, references, reference_labels, "cosine")
    if len(reference_labels.unique()) < 2:
        raise UserError("a support vector machine needs references of at least two classes")
    from sklearn.svm import LinearSVC  # slow to import, and most evaluations do not need it

    if normalize:
        embeddings, references = F.normalize(embeddings, dim=1), F.normalize(references, dim=1)
    machine = LinearSVC(random_state=seed).fit(references.float().cpu().numpy(), reference_labels.cpu().numpy())
    return float(machine.score(embeddings.float().cpu().numpy(), labels.cpu().numpy()))


def halves_svm_accuracy(embeddings: Tensor, labels: Tensor, *, normalize: bool = True) -> float:
    """`linear_svm_accuracy` of one set: every other image of each class is a reference, the rest are queries.

    Raises:
        ValueError: those of `linear_svm_accuracy`; no class with two images.
    """
    order = labels.argsort(stable=True)
    counts = labels.unique(return_counts=True)[1]
    place = torch.arange(len(labels), device=labels.device) - (counts.cumsum(0) - counts).repeat_interleave(counts)
    known, asked = order[place % 2 == 0], order[place % 2 == 1]
    if not len(asked):
        raise UserError("a set is halved for a support vector machine: some class needs two images")
    halves = embeddings[asked], labels[asked], embeddings[known], labels[known]
    return linear_svm_accuracy(*halves, normalize=normalize)
