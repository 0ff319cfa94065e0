"""The distribution over classes that an image's neighbours give it, and how likely it makes the right one.

Each other image votes for its class with a weight that falls with its distance: the stochastic neighbours of J. Goldberger,
S. Roweis, G. Hinton, R. Salakhutdinov, NIPS 2004, with a temperature. The nivMF repository has it as its neighbour-weighted
label distribution (NED). Shape legend: n images, e dimensions, N classes, b queries of a block.
"""

from __future__ import annotations

import torch
from torch import Tensor

from repmet.classification.metrics.retrieval import check, similarities
from repmet.errors import UserError

TEMPERATURE = 0.1
FLOOR = 1e-4  # of a probability whose logarithm is taken


@torch.no_grad()
def neighbour_distribution_figures(
    embeddings: Tensor, labels: Tensor, *, temperature: float = TEMPERATURE, floor: float = FLOOR
) -> dict[str, float]:
    """`p(c | i) = sum_{j != i, y_j = c} exp(cos_ij / t) / sum_{j != i} exp(cos_ij / t)` over the images that have another of
    their class.

    Args:
        embeddings: (n, e), labels: (n,). temperature: t.

    Returns:
        `NED accuracy`, how often the true class is the likeliest, and `NED loss`, the mean `-log max(p(y), floor)` in nats.
        An image does not vote for itself: where all embeddings are alike, classes of one size give the accuracy 0.

    Raises:
        ValueError: those of `retrieve`, a temperature not above 0, no class with two images.
    """
    check(embeddings, labels, embeddings, labels, "cosine")
    if not temperature > 0:
        raise UserError(f"the temperature of a neighbour distribution must be positive, not {temperature}")
    classes, codes, counts = labels.unique(return_inverse=True, return_counts=True)
    kept = counts[codes] > 1
    if not kept.any():
        raise UserError("no class has two images: there are no neighbours to ask")
    right, loss = 0, 0.0
    for rows, similarity in similarities(embeddings, embeddings, "cosine", exclude_self=True):
        weights = (similarity / temperature).softmax(1)  # (b, n), 0 for the query itself
        votes = weights.new_zeros(len(weights), len(classes)).index_add_(1, codes, weights)  # (b, N)
        asked = kept[rows]
        class_votes = votes.gather(1, codes[rows, None])[asked, 0]
        right += int((votes.argmax(1) == codes[rows])[asked].sum())
        loss -= class_votes.double().clamp_min(floor).log().sum().item()
    number = int(kept.sum())
    return {"NED accuracy": right / number, "NED loss": loss / number}
