"""What a support set says of itself: each image judged by representatives that were made without it.

Shapes: S support embeddings, N classes, K representatives a class, H embeddings that were held out.
"""

import math

import torch
from torch import Tensor

from repmet.errors import UserError
from repmet.model_definitions.episode import kmeans_centres
from repmet.model_definitions.representatives import soft_log_posterior, squared_distances

FOLDS = 5
SPREAD = 0.4  # standard deviation of ln sigma about the sigma that is expected without looking
_STEPS = torch.linspace(-1.5, 1.5, 121)  # of ln sigma about it


def held_out_distances(embeddings: Tensor, labels: Tensor, num_classes: int, modes: int) -> list[tuple[Tensor, Tensor]]:
    """Squared distances of every support whose class has others to the representatives of the others.

    The images of a class are dealt into `FOLDS` parts; each part is held out once. A class's only image is never held out.

    Args:
        embeddings: (S, e). labels: (S,), 0..N-1, each of which occurs. modes: K, as `kmeans_centres` takes it.

    Returns:
        By part, (H, N, K) and the true labels (H,).
    """
    place = torch.zeros_like(labels)
    for c in range(num_classes):
        members = (labels == c).nonzero().flatten()
        place[members] = torch.arange(len(members))
    alone = torch.bincount(labels, minlength=num_classes)[labels] == 1
    parts = []
    for fold in range(FOLDS):
        out = (place % FOLDS == fold) & ~alone
        if out.any():
            points = kmeans_centres(embeddings[~out], labels[~out], num_classes, modes)
            parts.append((squared_distances(embeddings[out], points), labels[out]))
    return parts


def fitted_sigma(held_out: list[tuple[Tensor, Tensor]], prior: float) -> float:
    """The sigma under which the held-out images are most likely of their classes, drawn towards a prior value:

        `argmin_sigma  -sum ln P(y | x; sigma) + (ln sigma - ln prior)^2 / (2 SPREAD^2)`,  P as `soft_posterior`, eq. 5

    A few images, all right by chance, thereby move it little.

    Args:
        held_out: as `held_out_distances` gives it; of an empty list the prior is returned.
        prior: sigma > 0.
    """
    costs = _STEPS.square() / (2 * SPREAD**2)
    for d2, labels in held_out:
        for i, step in enumerate(_STEPS.tolist()):
            log_posterior = soft_log_posterior(d2, prior * math.exp(step))  # (H, N)
            costs[i] -= log_posterior.gather(1, labels[:, None]).sum()
    return prior * math.exp(_STEPS[costs.argmin()].item())


def farthest_allowed(held_out: list[tuple[Tensor, Tensor]], share: float) -> float:
    """The squared distance to the nearest representative beyond which an image is none of the classes.

    At most the share of images of the classes lie beyond it, as far as they are like the support (a conformal bound: of H
    held-out distances the one of rank `ceil((1 - share) (H + 1))`).

    Args:
        held_out: as `held_out_distances` gives it.
        share: of images of the classes that may be refused, in (0, 1).

    Raises:
        ValueError: a share out of range, or too few images for so small a one.
    """
    if not 0 < share < 1:
        raise UserError(f"the share of images that may be refused lies between 0 and 1, not {share:g}")
    distances = torch.cat([d2.flatten(1).amin(1) for d2, _ in held_out]).sort().values if held_out else torch.empty(0)
    rank = math.ceil((1 - share) * (len(distances) + 1))
    if rank > len(distances):
        least = math.ceil(100 / (len(distances) + 1)) / 100
        raise UserError(
            f"refusing at most {share:g} of the images of the classes takes {math.ceil(1 / share) - 1} support images whose "
            f"class has others; there are {len(distances)}: show more, or allow a share of {least:g}"
        )
    return distances[rank - 1].item()
