"""What a classifier's mistakes cost, each figure with its 95 % interval over the images (`intervals`).

error rate                          mean of 1[y^ != y], a fraction
average cost                        mean of D[y, y^], in D's units; with D = 1 - I the error rate
hierarchical distance of mistakes   mean height of the lowest common ancestor of y and y^ over the mistakes alone, in
                                    edges (Bertinetto et al., "Making better mistakes", CVPR 2020)
distortion                          scale-free, of the class' points, in [0, 1] (`losses.distortion`); no interval, for
                                    there is one of a training
"""

import math

import torch
from torch import Tensor

from repmet.errors import UserError
from repmet.experiments.reporting.intervals import Estimate, mean_interval
from repmet.model_definitions.hierarchy import Hierarchy
from repmet.model_definitions.losses.distortion import scale_free_distortion

IGNORED = -100


def image_costs(predicted: Tensor, labels: Tensor, D: Tensor, ignore_index: int = IGNORED) -> Tensor:
    """D[y, y^] of every label that is not `ignore_index`, in their order: (n,), (n,), (K, K) -> (m,).

    The labels may have any shape, (B, H, W) as well.

    Raises:
        ValueError: shapes that do not fit, no label that counts, labels or predictions outside 0..K-1.
    """
    if predicted.shape != labels.shape or D.dim() != 2:
        raise UserError(f"predictions {tuple(predicted.shape)} and labels {tuple(labels.shape)} must have one shape")
    counted = labels != ignore_index
    predicted, labels = predicted[counted].cpu(), labels[counted].cpu()
    if not len(labels):
        raise UserError("there is no label that counts")
    for name, values in (("labels", labels), ("predictions", predicted)):
        if values.min() < 0 or values.max() >= len(D):
            raise UserError(f"{name} must lie in 0..{len(D) - 1}, not {int(values.min())}..{int(values.max())}")
    return D.cpu()[labels, predicted]


def cost_figures(
    predicted: Tensor,
    labels: Tensor,
    D: Tensor,
    hierarchy: Hierarchy | None = None,
    points: Tensor | None = None,
    ignore_index: int = IGNORED,
) -> dict[str, Estimate]:
    """All figures by name.

    Args:
        predicted, labels: see `image_costs`. D: (K, K) with 0 on the diagonal.
        hierarchy: of the K classes; without it there is no hierarchical distance, nor where there is no mistake.
        points: (K, e), the classes' prototypes; without them there is no distortion.

    Raises:
        ValueError: as `image_costs`.
    """
    wrong = image_costs(predicted, labels, 1 - torch.eye(len(D)), ignore_index)
    figures = {
        "error rate": mean_interval(wrong),
        "average cost": mean_interval(image_costs(predicted, labels, D, ignore_index)),
    }
    if hierarchy is not None and wrong.any():
        heights = image_costs(predicted, labels, hierarchy.common_heights(), ignore_index)
        figures["hierarchical distance of mistakes"] = mean_interval(heights[wrong > 0])
    if points is not None:
        figures["distortion"] = Estimate(scale_free_distortion(points.cpu().double(), D).item(), math.inf, 1)
    return figures
