"""The classification loss of the RepMet detector: cross-entropy of a scaled softmax over classes and background.

Shapes: R regions, N foreground classes, K modes.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from repmet.model_definitions.labels import check_range
from repmet.model_definitions.representatives import background, posterior


def detection_logits(d2: Tensor, sigma: float = 0.5, scale: float = 15.0) -> Tensor:
    """`scale * [s_1, ..., s_N, 1 - max_n s_n]` with `s` the hard posterior (RepMet eq. 2 and 3).

    The released detector multiplies by 15 before its softmax (`SOFTMAX_MUL`); background is the last column, as in mmdet.
    A score depends on how many columns stay in the softmax, since one that does not match still adds e^0: leave out the
    classes that cannot occur.

    (R, N, K) -> (R, N + 1), values in [0, scale].
    """
    return scale * torch.cat([posterior(d2, sigma), background(d2, sigma).unsqueeze(-1)], -1)


def detection_loss(d2: Tensor, labels: Tensor, *, sigma: float = 0.5, scale: float = 15.0) -> Tensor:
    """Cross-entropy of `detection_logits` per region, (R,); labels (R,) with 0..N-1 for classes and N for background.

    Raises:
        ValueError: a label out of range.
    """
    check_range(labels, d2.shape[1] + 1)
    return F.cross_entropy(detection_logits(d2, sigma, scale), labels, reduction="none")
