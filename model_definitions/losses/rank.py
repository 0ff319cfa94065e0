"""The order of distances: a class that costs less to mistake should have the nearer prototype.

Source: the rank loss of Sainte Fare Garnot and Landrieu, BMVC 2021, after P. Mettes et al., "Hyperspherical prototype
networks", NeurIPS 2019.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repmet.errors import UserError
from repmet.model_definitions.costs import check_costs
from repmet.model_definitions.prototype_distances import between, check_distance


class RankLoss(nn.Module):
    """`-mean [ t log sigmoid(x) + (1 - t) log sigmoid(-x) ]` over random triples, `x = d_ij - d_ik`, `t = 1[D_ij > D_ik]`.

    The i, j, k are three different classes. Equal costs count as t = 0.

    Args:
        D: costs (K, K), K at least 3; see `check_costs`. A buffer that is not saved.
        n_triplets: triples of a step, drawn anew each time; at least 1.
        distance: "euclidean" or "cosine".

    Raises:
        ValueError: as `check_costs`; fewer than 3 classes; another distance; a number of prototypes that is not K.
    """

    costs: Tensor

    def __init__(self, D: Tensor, n_triplets: int = 1000, distance: str = "euclidean") -> None:
        super().__init__()
        check_distance(distance)
        if len(D) < 3 or n_triplets < 1:
            raise UserError(f"RankLoss compares triples of classes: {n_triplets} of {len(D)} classes are too few")
        self.n_triplets, self.distance = n_triplets, distance
        self.register_buffer("costs", check_costs(D), persistent=False)

    def forward(
        self, prototypes: Tensor, triplets: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """The loss of prototypes (K, d).

        Args:
            prototypes: (K, d).
            triplets: (n, 3) classes i, j, k; None: random ones.
            generator: of the random numbers; None: torch's own.
        """
        if prototypes.dim() != 2 or len(prototypes) != len(self.costs):
            number = len(self.costs)
            raise ValueError(f"costs of {number} classes go with prototypes ({number}, d), not {tuple(prototypes.shape)}")
        if triplets is None:
            triplets = draw_triplets(len(prototypes), self.n_triplets, generator)
        i, j, k = triplets.to(prototypes.device).unbind(-1)
        d = between(prototypes, self.distance)
        target = (self.costs[i, j] > self.costs[i, k]).to(d.dtype)
        return F.binary_cross_entropy_with_logits(d[i, j] - d[i, k], target)


def draw_triplets(num_classes: int, number: int, generator: torch.Generator | None = None) -> Tensor:
    """Triples (number, 3) of different classes, all K (K-1) (K-2) equally likely."""
    device = None if generator is None else generator.device
    i, j, k = (torch.randint(num_classes - taken, (number,), generator=generator, device=device) for taken in range(3))
    j = j + (j >= i)  # of the classes but i
    low, high = torch.minimum(i, j), torch.maximum(i, j)
    k = k + (k >= low)  # of the classes but i and j
    k = k + (k >= high)
    return torch.stack((i, j, k), -1)
