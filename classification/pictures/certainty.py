"""Pictures of what an embedding is sure of: least and most certain images, risk and coverage, spoilt images, neighbours.

A norm is a certainty for embeddings that are not normalised, as those of probabilistic proxies. A plot is one PNG.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

from repmet.classification.inputs.dataset import ImageSet
from repmet.classification.methods.base import Method
from repmet.classification.metrics.retrieval import largest, similarities
from repmet.classification.pictures.pictures import RIGHT, WRONG, pixels
from repmet.data.files.saved_pictures import save_plot
from repmet.errors import UserError

LEVELS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)  # of blur and occlusion, as fractions of an image's side


def blurred(inputs: Tensor, level: float) -> Tensor:
    """(B, C, H, W) by a Gaussian whose standard deviation is a quarter of `level` times the side."""
    sigma = level * inputs.shape[-1] / 4
    if sigma <= 0:
        return inputs
    reach = min(2 * int(2 * sigma) + 3, 2 * (min(inputs.shape[-2:]) // 2) - 1)
    return transforms.gaussian_blur(inputs, [reach, reach], [sigma, sigma])


def occluded(inputs: Tensor, level: float) -> Tensor:
    """(B, C, H, W) with a square of `level` times the side in the middle set to each image's mean colour."""
    height, width = inputs.shape[-2:]
    h, w = round(level * height), round(level * width)
    top, left = (height - h) // 2, (width - w) // 2
    spoilt = inputs.clone()
    spoilt[..., top : top + h, left : left + w] = inputs.mean((-2, -1), keepdim=True)
    return spoilt


@torch.no_grad()
def spoilt_norms(method: Method, images: ImageSet, indices: Sequence[int]) -> dict[str, Tensor]:
    """By kind, "blur" and "occlusion", the norms (levels, B) of some images' embeddings at each of `LEVELS`.

    Raises:
        ValueError: the images are cached features, which cannot be spoilt.
    """
    inputs = method.data_preprocessor(images.__getitems__(list(indices)))["inputs"]
    if inputs.dim() != 4:
        raise UserError("features of a frozen encoder cannot be blurred: evaluate with data.cache_features=false")
    training = method.training
    method.eval()
    try:
        return {
            name: torch.stack([method(spoil(inputs, level), mode="tensor").norm(dim=1).cpu() for level in LEVELS])
            for name, spoil in (("blur", blurred), ("occlusion", occluded))
        }
    finally:
        method.train(training)


def norms_plot(out: Path, norms: Mapping[str, Tensor]) -> None:
    """Median and quartiles of `spoilt_norms` against the level."""
    figure = _figure(8, 4)
    axes = figure.subplots(1, len(norms), sharey=True, squeeze=False)[0]
    for axis, (name, values) in zip(axes, norms.items(), strict=True):
        low, middle, high = values.quantile(torch.tensor([0.25, 0.5, 0.75]), dim=1)
        axis.fill_between(LEVELS, low, high, alpha=0.3)
        axis.plot(LEVELS, middle, marker="o")
        axis.set(title=name, xlabel="level, fraction of the side")
    axes[0].set_ylabel("norm of the embedding")
    save_plot(figure, out)


def risk_plot(out: Path, curves: Mapping[str, Mapping[str, Sequence[float]]]) -> None:
    """The curves of `uncertainty.risk_curves`: wrong ones among the most certain, against the share that is kept."""
    figure = _figure(5, 4)
    axis = figure.subplots()
    for name, curve in curves.items():
        axis.plot(curve["coverage"], curve["risk"], label=f"by {name}")
    axis.set(xlabel="coverage: share kept, the most certain first", ylabel="risk: share of them that is wrong")
    axis.set(xlim=(0, 1), ylim=(0, None))
    axis.legend()
    save_plot(figure, out)


def certainty_plot(out: Path, images: ImageSet, embeddings: Tensor, number: int = 10) -> None:
    """The images of the smallest norms, and those of the largest."""
    norms = embeddings.norm(dim=1)
    order = norms.argsort(stable=True)
    number = min(number, len(order) // 2)
    figure = _figure(1.3 * number, 3.4)
    axes = figure.subplots(2, number, squeeze=False)
    for row, chosen, title in ((0, order[:number], "least certain"), (1, order[-number:].flip(0), "most certain")):
        for axis, picture, i in zip(axes[row], pixels(images, chosen.tolist()), chosen.tolist(), strict=True):
            _show(axis, picture, f"{norms[i]:.1f}")
        axes[row, 0].set_ylabel(title)
    save_plot(figure, out)


def neighbours_plot(
    out: Path, images: ImageSet, embeddings: Tensor, queries: Sequence[int], number: int = 8, metric: str = "cosine"
) -> None:
    """Queries, and beside each its nearest images: framed green where they are of its class, else red."""
    chosen = torch.as_tensor(list(queries))
    nearest = neighbours(embeddings, chosen, number, metric)
    figure = _figure(1.2 * (number + 1), 1.3 * len(chosen))
    axes = figure.subplots(len(chosen), number + 1, squeeze=False)
    for row, query, near in zip(axes, chosen.tolist(), nearest.tolist(), strict=True):
        for k, (axis, picture, i) in enumerate(zip(row, pixels(images, [query, *near]), [query, *near], strict=True)):
            right = images.labels[i] == images.labels[query]
            _show(axis, picture, "query" if k == 0 else "", "black" if k == 0 else RIGHT if right else WRONG)
    save_plot(figure, out)


def neighbours(embeddings: Tensor, queries: Tensor, number: int, metric: str = "cosine") -> Tensor:
    """(B, number) the nearest other images of some, nearest first."""
    parts = []
    for rows, similarity in similarities(embeddings[queries], embeddings, metric, exclude_self=False):
        similarity.scatter_(1, queries[rows, None], -torch.inf)
        parts.append(largest(similarity, number)[1])
    return torch.cat(parts)


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure  # slow to import; no window, whatever the backend

    return Figure((width, height), layout="constrained", dpi=120)


def _show(axis: Any, picture: Any, title: str, colour: str = "black") -> None:
    axis.imshow(picture, cmap="gray" if picture.ndim == 2 else None)
    axis.set(xticks=[], yticks=[])
    axis.set_title(title, fontsize=8)
    for side in axis.spines.values():
        side.set(color=colour, linewidth=2.5 if colour != "black" else 0.8)
