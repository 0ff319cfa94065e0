"""A split of a data set through a network, once: what validation, index refreshes and evaluation start from."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.model import is_model_wrapper
from torch import Tensor, nn

from repmet.classification.inputs.dataset import ImageSet
from repmet.classification.inputs.transforms import build_transform
from repmet.classification.methods.base import SIGMA2, ClassRepresentatives, Method
from repmet.errors import UserError
from repmet.model_definitions.episode import class_means

VIEW_SEED = 8001


def unwrapped(model: nn.Module) -> Method:
    """The method itself, without what several processes wrap it in."""
    return model.module if is_model_wrapper(model) else model


def as_tested(images: ImageSet, pipeline: Sequence[Mapping[str, Any]]) -> ImageSet:
    """The same images by the transforms of the test: a training set without augmentation. They are not copied."""
    if hasattr(images, "plain"):  # features of a frozen encoder, by the test's transforms already
        return images.plain()
    same = copy.copy(images)
    same.transform = build_transform(pipeline)
    return same


@torch.no_grad()
def embed_split(method: Method, images: ImageSet, batch_size: int = 256) -> Tensor:
    """Embeddings of all images of a set, in their order, in evaluation mode; the mode it was in is restored.

    Args:
        method: of B x (C, H, W) to (B, e).
        images: n images; their transform is applied as it is, so it should not draw random numbers.
        batch_size: images at a time; the result does not depend on it.

    Returns:
        (n, e) on the CPU.
    """
    training = method.training
    method.eval()
    try:
        if hasattr(images, "compute"):
            images.compute(method.encoder, method.data_preprocessor)
        return torch.cat([_embed(method, images, part) for part in torch.arange(len(images)).split(batch_size)])
    finally:
        method.train(training)


def embed_views(method: Method, images: ImageSet, views: Mapping[str, Any] | None) -> Tensor:
    """As `embed_split`; with `views` the mean embedding of several views of each image, the first of them the image itself.

    Args:
        views: {number: how many, and the arguments of `AffineJitter`}; the others are drawn by `VIEW_SEED`.

    Raises:
        ValueError: fewer than two views, arguments that `AffineJitter` refuses, features in the place of images.
    """
    if not views:
        return embed_split(method, images)
    number = views.get("number", 0)
    if number < 2 or hasattr(images, "compute"):
        raise UserError(f"episodes.views: two views or more, of images and not of kept features, not {number}")
    jitter = build_transform([{"type": "AffineJitter"} | {key: value for key, value in views.items() if key != "number"}])
    jittered = copy.copy(images)
    jittered.transform = nn.Sequential(images.transform, jitter)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(VIEW_SEED)
        parts = [embed_split(method, images), *(embed_split(method, jittered) for _ in range(number - 1))]
    return torch.stack(parts).mean(0)


def _embed(method: Method, images: ImageSet, part: Tensor) -> Tensor:
    batch = method.data_preprocessor(images.__getitems__(part.tolist()))
    return method(batch["inputs"], mode="tensor").cpu()


def mean_representatives(embeddings: Tensor, labels: Tensor, num_classes: int) -> ClassRepresentatives:
    """The class means of a training set's embeddings (n, e): what a method without representatives is measured by."""
    return ClassRepresentatives(class_means(embeddings, labels, num_classes), SIGMA2)
