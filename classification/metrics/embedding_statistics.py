"""How embeddings lie, whatever is retrieved with them: distances within and between classes, and the directions they use.

K. Roth, T. Milbich, S. Sinha, P. Gupta, B. Ommer, J. P. Cohen, "Revisiting training strategies and generalization
performance in deep metric learning", ICML 2020, section 5. Shape legend: n images, e dimensions.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from repmet.classification.metrics.retrieval import check
from repmet.errors import UserError


def class_distances(embeddings: Tensor, labels: Tensor, *, metric: str = "cosine") -> dict[str, float]:
    """Mean distance of two images of one class (over all such pairs), of two classes' means, and their ratio.

    Args:
        embeddings: (n, e), labels: (n,). metric: "cosine" measures distances between the directions, on the unit sphere.

    Returns:
        `intra-class distance`, NaN where no class has two images; `inter-class distance`, NaN with one class; `intra/inter`.

    Raises:
        ValueError: those of `retrieve`.
    """
    check(embeddings, labels, embeddings, labels, metric)
    points = F.normalize(embeddings.double(), dim=1) if metric == "cosine" else embeddings.double()
    total, pairs, means = 0.0, 0, []
    for label in labels.unique():
        members = points[labels == label]
        total += F.pdist(members).sum().item()
        pairs += len(members) * (len(members) - 1) // 2
        means.append(members.mean(0))
    between = F.pdist(torch.stack(means))
    intra = total / pairs if pairs else float("nan")
    inter = between.mean().item() if len(between) else float("nan")
    ratio = intra / inter if inter else float("nan")
    return {"intra-class distance": intra, "inter-class distance": inter, "intra/inter": ratio}


def spectrum_divergence(embeddings: Tensor, *, metric: str = "cosine") -> float:
    """`KL(uniform || s)` with s the singular values (n >= e: e of them) of the embeddings, divided by their sum: 0 where all
    directions are used alike, larger the fewer are; infinite where some are not used at all.

    metric: "cosine" takes the embeddings' directions.

    Raises:
        ValueError: no matrix of embeddings.
    """
    if embeddings.dim() != 2 or not len(embeddings):
        raise UserError(f"a spectrum is of embeddings (n, e), not {tuple(embeddings.shape)}")
    points = F.normalize(embeddings.double(), dim=1) if metric == "cosine" else embeddings.double()
    values = torch.linalg.svdvals(points)
    share = values / values.sum()
    return -(share * len(share)).log().mean().item()


def norm_quantile(embeddings: Tensor, percent: float) -> float:
    """The norm that `percent` of 100 embeddings (n, e) stay below, between neighbours by linear interpolation.

    Raises:
        ValueError: a percentage outside 0..100.
    """
    if not 0 <= percent <= 100:
        raise UserError(f"a quantile of norms is at 0 to 100 percent, not {percent:g}")
    norms = embeddings.double().norm(dim=1).sort().values
    place = percent / 100 * (len(norms) - 1)
    low = int(place)
    return torch.lerp(norms[low], norms[min(low + 1, len(norms) - 1)], place - low).item()
