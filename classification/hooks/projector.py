"""TensorBoard's embedding projector: the images of a split where training has put them, the representatives among them."""

import numpy as np
import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import Tensor
from torchvision.transforms.functional import resize

from repmet.classification.hooks.validation import ValidationHook
from repmet.classification.inputs.dataset import ImageSet
from repmet.classification.protocols.embedding import embed_split, unwrapped
from repmet.data.files.decoding import decode_batch
from repmet.errors import UserError

SPRITE = 2 << 12  # pixels a side that browsers take


@HOOKS.register_module()
class ProjectorHook(Hook):
    """Writes embeddings of the validation split, with their pictures, and the representatives when the training ends.

    Args:
        images: at most, evenly spread over the split.
        side: of their pictures, in pixels.

    Raises:
        ValueError: there is no ValidationHook, whose split it shows; a size below 1, or more pictures than fit one sprite.
    """

    priority = "LOWEST"

    def __init__(self, images: int = 1000, side: int = 32) -> None:
        if images < 1 or side < 1 or int(images**0.5 + 1) * side > SPRITE:
            raise UserError(f"ProjectorHook: {images} pictures of {side} pixels must be some, and fit {SPRITE} x {SPRITE}")
        self.images, self.side = images, side

    def before_train(self, runner: Runner) -> None:
        self._split(runner)

    def after_train(self, runner: Runner) -> None:
        backend = runner.visualizer.get_backend("TensorboardXVisBackend")
        if backend is None or not is_main_process():
            return
        split, method = self._split(runner), unwrapped(runner.model)
        embeddings = embed_split(method, split)
        chosen = torch.linspace(0, len(split) - 1, min(self.images, len(split))).long()
        points, labels = [embeddings[chosen]], [[split.classes[c], "image"] for c in split.labels[chosen].tolist()]
        pictures = [self._pictures(split, chosen)]
        representatives = method.class_representatives()
        if representatives is not None:
            there = (
                torch.ones(representatives.points.shape[:2])
                if representatives.present is None
                else representatives.present.cpu()
            )
            classes, modes = there.nonzero(as_tuple=True)
            points.append(representatives.points.cpu()[classes, modes])
            trained = runner.train_dataloader.dataset.classes
            labels += [[trained[c], f"representative {k}"] for c, k in zip(classes.tolist(), modes.tolist(), strict=True)]
            pictures.append(torch.ones(len(classes), *pictures[0].shape[1:]))  # white
        with np.errstate(over="ignore", invalid="ignore"):  # it leaves the sprite's last cells as memory was
            backend.writer(runner.iter).add_embedding(
                torch.cat(points),
                labels,
                torch.cat(pictures),
                global_step=runner.iter,
                tag="embedding",
                metadata_header=["class", "kind"],
            )

    def _split(self, runner: Runner) -> ImageSet:
        for hook in runner.hooks:
            if isinstance(hook, ValidationHook):
                return hook.images
        raise UserError("ProjectorHook shows the validation split: custom_hooks needs a ValidationHook beside it")

    def _pictures(self, split: ImageSet, chosen: Tensor) -> Tensor:
        """(m, 3, side, side), values 0..1."""
        if split.images is not None:
            images = split.images[chosen]
        else:
            images = decode_batch([split.paths[i] for i in chosen.tolist()], split.size)
        small = resize(images, [self.side, self.side], antialias=True).float() / 255
        return small.expand(-1, 3, -1, -1) if small.shape[1] == 1 else small
