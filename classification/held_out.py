"""What a support set says of itself: each image judged by representatives that were made without it. Plain arrays.

Shapes: S support embeddings, N classes, K representatives a class, H embeddings that were held out.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from repmet.classification.array_head import Floats, Labels, soft_log_posterior
from repmet.classification.fitted_head import FittedHead
from repmet.errors import UserError

FOLDS = 5
SPREAD = 0.4  # standard deviation of ln sigma about the sigma that is expected without looking
CHUNK = 512  # images whose posteriors are looked at together, under all sigmas
_STEPS = np.linspace(-1.5, 1.5, 61)  # of ln sigma about it


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Support images and how far a head that was made without them finds them.

    Attributes:
        indices: of the supports, (H,).
        d2: squared distances, (H, N, K).
        labels: their classes, (H,).
    """

    indices: Labels
    d2: Floats
    labels: Labels


def held_out_distances(
    embeddings: Floats, labels: Labels, num_classes: int, fit: Callable[[Floats, Labels], FittedHead]
) -> list[HeldOut]:
    """Every support whose class has others, as a head sees it that was made of the others.

    The images of a class are dealt into `FOLDS` parts; each part is held out once. Up to so many images a class this leaves
    out one of each class at a time. A class's only image is never held out.

    Args:
        embeddings: (S, e). labels: (S,), 0..N-1, each of which occurs. fit: makes a head of some of both.

    Returns:
        A part each.
    """
    place = np.zeros_like(labels)
    for c in range(num_classes):
        members = np.flatnonzero(labels == c)
        place[members] = np.arange(len(members))
    alone = np.bincount(labels, minlength=num_classes)[labels] == 1
    parts = []
    for fold in range(FOLDS):
        out = (place % FOLDS == fold) & ~alone
        if out.any():
            head = fit(embeddings[~out], labels[~out])
            parts.append(HeldOut(np.flatnonzero(out), head.distances(embeddings[out]), labels[out]))
    return parts


def sigma_costs(held_out: list[HeldOut], prior: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What `fitted_sigma` minimises, for a range of sigmas about the prior: sigmas and costs."""
    costs = np.square(_STEPS) / (2 * SPREAD**2)
    for part in held_out:
        for start in range(0, len(part.labels), CHUNK):
            d2, label = part.d2[start : start + CHUNK], part.labels[start : start + CHUNK]
            scaled = d2 * np.exp(-2 * _STEPS)[:, None, None, None]  # (steps, H, N, K)
            costs -= soft_log_posterior(scaled, prior)[:, np.arange(len(label)), label].sum(1)
    return prior * np.exp(_STEPS), costs


def fitted_sigma(held_out: list[HeldOut], prior: float) -> float:
    """The sigma under which the held-out images are most likely of their classes, drawn towards a prior value:

        `argmin_sigma  -sum ln P(y | x; sigma) + (ln sigma - ln prior)^2 / (2 SPREAD^2)`,  P as `soft_posterior`, eq. 5

    It is the temperature of a softmax fitted to images that were not learnt from (temperature scaling, Guo et al. 2017,
    section 4.2), with `1 / (2 sigma^2)` for the inverse temperature. A few images, all right by chance, move it little.

    Args:
        held_out: as `held_out_distances` gives it; of an empty list the prior is returned.
        prior: sigma > 0.
    """
    sigmas, costs = sigma_costs(held_out, prior)
    return float(sigmas[costs.argmin()])


def strangeness(d2: NDArray[np.floating]) -> NDArray[np.floating]:
    """How unlike all classes images are: the squared distance to the nearest class over the mean of those to all,
    `min_i d_i / mean_i d_i` with `d_i = min_j d2_ij`; (..., N, K) -> (...), in [0, 1].

    An image of a class lies near to it and far from the others; one of none is as far from all. Of one class, where nothing
    is to be compared with, the squared distance itself.
    """
    nearest = d2.min(-1)  # (..., N)
    if nearest.shape[-1] == 1:
        return nearest[..., 0]
    return nearest.min(-1) / np.maximum(nearest.mean(-1), 1e-12)


def strangest_allowed(held_out: list[HeldOut], share: float) -> float:
    """The strangeness beyond which an image is none of the classes.

    At most the share of images of the classes lie beyond it, as far as they are like the support: the bound of inductive
    conformal prediction, of H held-out values the one of rank `ceil((1 - share) (H + 1))` (Vovk et al. 2005).

    Args:
        held_out: as `held_out_distances` gives it.
        share: of images of the classes that may be refused, in (0, 1).

    Raises:
        ValueError: a share out of range, or too few images for so small a one.
    """
    if not 0 < share < 1:
        raise UserError(f"the share of images that may be refused lies between 0 and 1, not {share:g}")
    values = np.sort(np.concatenate([np.zeros(0), *(strangeness(part.d2) for part in held_out)]))
    rank = math.ceil((1 - share) * (len(values) + 1))
    if rank > len(values):
        least = math.ceil(100 / (len(values) + 1)) / 100
        raise UserError(
            f"refusing at most {share:g} of the images of the classes takes {math.ceil(1 / share) - 1} support images whose "
            f"class has others; there are {len(values)}: show more, or allow a share of {least:g}"
        )
    return float(values[rank - 1])
