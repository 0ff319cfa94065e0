"""Neighbourhood components analysis on the embeddings of a batch (J. Goldberger et al., NeurIPS 2004)."""

import torch
from torch import Tensor

from repmet.model_definitions.representatives import squared_distances


def neighbourhood_components_loss(embeddings: Tensor, labels: Tensor, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
    """`-log p_i`, p_i the probability that image i takes its class from another image of it, in the mean over the batch:

        `p_i = sum_{j != i, y_j = y_i} exp(-d2_ij / T) / sum_{j != i} exp(-d2_ij / T),  d2_ij = |f(x_i) - f(x_j)|^2`

    The non-episodic loss of S. Laenen, L. Bertinetto, "On episodes, prototypical networks, and few-shot learning", NeurIPS
    2021, section 3. An image that is alone of its class in the batch has no p_i and is left out.

    Args:
        embeddings: (B, e). labels: (B,). temperature: T, in squared distances.

    Returns:
        The loss, a 0-dim tensor, 0 where every image is alone; and (B,) whether p_i > 1/2, of those that are not alone.
    """
    energies = -squared_distances(embeddings, embeddings[:, None])[..., 0] / temperature  # (B, B)
    energies = energies.masked_fill(torch.eye(len(labels), dtype=torch.bool, device=labels.device), -torch.inf)
    same = labels[:, None] == labels
    same.fill_diagonal_(False)
    paired = same.any(1)
    energies, same = energies[paired], same[paired]
    of_class = energies.masked_fill(~same, -torch.inf).logsumexp(1)
    log_p = of_class - energies.logsumexp(1)  # (P,)
    loss = -log_p.mean() if len(log_p) else embeddings.sum() * 0
    return loss, log_p.detach().exp() > 0.5
