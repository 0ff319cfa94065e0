"""Does a method know when it is wrong? How well a score tells right retrievals from wrong ones.

A score is higher for what is more certain: the norm of the query's embedding, the cosine to its nearest neighbour, or the
log expected likelihood of the two embeddings as von Mises-Fisher distributions (M. Kirchhof et al., ECCV 2022).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from repmet.classification.metrics.retrieval import Retrieval
from repmet.errors import UserError
from repmet.model_definitions.vmf import log_probability_product_ratio

SCORES = ("norm", "cosine", "log-PPK")


def auroc(scores: Tensor, correct: Tensor) -> float:
    """The probability that a right one has the higher score than a wrong one, half of it where they tie: the area under
    the ROC curve, from the ranks (Mann-Whitney).

    Args:
        scores: (n,). correct: (n,) bool.

    Returns:
        0..1, NaN where all are right or all are wrong.

    Raises:
        ValueError: shapes that do not fit, scores that are NaN.
    """
    _check(scores, correct)
    _, place, counts = scores.unique(return_inverse=True, return_counts=True)
    middle = counts.cumsum(0).double() - (counts - 1) / 2  # mean rank of equal scores, from 1
    right = int(correct.sum())
    wrong = len(correct) - right
    if not right or not wrong:
        return float("nan")
    ranks = middle[place][correct].sum().item()
    return (ranks - right * (right + 1) / 2) / (right * wrong)


def risk_coverage(scores: Tensor, correct: Tensor) -> tuple[Tensor, Tensor]:
    """The share of wrong ones among the most certain, against how many are kept (R. El-Yaniv, Y. Wiener, JMLR 2010).

    Returns:
        Coverage (n,), 1/n .. 1, and risk (n,). Equal scores are kept together: each has the risk of all of them.

    Raises:
        ValueError: as `auroc`.
    """
    _check(scores, correct)
    order = scores.argsort(descending=True, stable=True)
    ordered = scores[order]
    coverage = torch.arange(1, len(scores) + 1, device=scores.device, dtype=torch.float64) / len(scores)
    risk = (~correct[order]).cumsum(0).double() / torch.arange(1, len(scores) + 1, device=scores.device)
    last = torch.searchsorted(-ordered, -ordered, right=True) - 1  # of those with the same score
    return coverage, risk[last]


def area_under_risk(scores: Tensor, correct: Tensor) -> float:
    """AURC: the mean risk over all coverages; lower is better."""
    return risk_coverage(scores, correct)[1].mean().item()


def risk_curves(
    retrieved: Retrieval, embeddings: Tensor, references: Tensor | None = None, points: int = 100
) -> dict[str, dict[str, list[float]]]:
    """`risk_coverage` of every score, as lists: {score: {"coverage": [...], "risk": [...]}}, five digits.

    Args:
        retrieved, embeddings, references: as for `certainties`.
        points: at most so many, at even coverages up to 1; points of the curve itself, none interpolated.
    """
    curves = {}
    for name, score in certainties(retrieved, embeddings, references).items():
        coverage, risk = risk_coverage(score, retrieved.correct)
        kept = torch.linspace(0, len(coverage), min(points, len(coverage)) + 1)[1:].round().long() - 1
        axes = {"coverage": coverage[kept], "risk": risk[kept]}
        curves[name] = {axis: [round(value, 5) for value in values.tolist()] for axis, values in axes.items()}
    return curves


def certainties(retrieved: Retrieval, embeddings: Tensor, references: Tensor | None = None) -> dict[str, Tensor]:
    """Scores (q,) of each query that was retrieved: norm, cosine and log-PPK.

    Args:
        retrieved: of `retrieve`. embeddings: (n, e), its queries, not normalised. references: (m, e); None: the queries.
    """
    query = embeddings[retrieved.queries].float()
    near = (embeddings if references is None else references)[retrieved.nearest].float()
    cosine = F.cosine_similarity(query, near, dim=1)
    product = log_probability_product_ratio(query.norm(dim=1), near.norm(dim=1), cosine, embeddings.shape[1])
    return dict(zip(SCORES, (query.norm(dim=1), cosine, product), strict=True))


def uncertainty_figures(retrieved: Retrieval, embeddings: Tensor, references: Tensor | None = None) -> dict[str, float]:
    """AUROC and AURC of every score for whether the nearest neighbour is of the class; arguments as for `certainties`.

    Embeddings of one length have a norm that says nothing; its AUROC is 1/2 up to rounding.
    """
    scores = certainties(retrieved, embeddings, references)
    figures = {f"AUROC by {name}": auroc(score, retrieved.correct) for name, score in scores.items()}
    return figures | {f"AURC by {name}": area_under_risk(score, retrieved.correct) for name, score in scores.items()}


def _check(scores: Tensor, correct: Tensor) -> None:
    if scores.dim() != 1 or correct.shape != scores.shape or correct.dtype != torch.bool or not len(scores):
        raise UserError(
            f"scores (n,) and whether right (n,) are needed, not {tuple(scores.shape)} and {tuple(correct.shape)}"
        )
    if scores.isnan().any():
        raise UserError(f"{int(scores.isnan().sum())} of {len(scores)} scores are NaN")
