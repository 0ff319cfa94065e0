"""The usual split of metric learning: a network trains on the first half of the classes and retrieves in the other half.

H. Oh Song et al., "Deep metric learning via lifted structured feature embedding", CVPR 2016. Classes are sorted by name. A
validation set is carved out of the first half, whole classes or images of each.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from repmet.data.readers import image_folder
from repmet.data.readers.labelled_images import LabelledImages
from repmet.data.readers.splits import check_size, check_split, seeded_order
from repmet.errors import UserError

SPLITS = ("train", "val", "trainval", "test")
BY = ("class", "sample")


def reader(usual: str, size: tuple[int, int], title: str) -> Callable[..., LabelledImages]:
    """The `read` of a set that is laid out as class folders and split into halves.

    Args:
        usual: the folder of the class folders, below the root.
        size: images and classes of the whole set. title: for messages.
    """

    def read(
        root: str | Path, split: str, *, folder: str = usual, val_share: float = 0.0, val_by: str = "class", seed: int = 0
    ) -> LabelledImages:
        """One split, as files: `trainval` and `test` by `half`, `train` and `val` of the first.

        Args:
            root: the folder above `folder`.
            folder: of the class folders; another than the usual one may hold any number of images, as a subset does.
            val_share, val_by, seed: see `carve`.

        Raises:
            FileNotFoundError: no such folder. ValueError: a wrong number of images or classes, and what `half` refuses.
        """
        place = Path(root) / folder
        images = image_folder.read(place)
        if folder == usual:
            check_size(images, size, title, place)
        return half(images, split, place, val_share=val_share, val_by=val_by, seed=seed)

    return read


def half(
    images: LabelledImages, split: str, where: str | Path, *, val_share: float = 0.0, val_by: str = "class", seed: int = 0
) -> LabelledImages:
    """`trainval`, the images of the first half of the classes; `test`, those of the others; `train` and `val`, parts of the
    first.

    Args:
        images: the whole set, as files. where: its place, for messages. The rest as for `carve`.

    Raises:
        ValueError: an unknown split; those of `carve`.
    """
    check_split(split, SPLITS, str(where))
    middle = len(images.classes) // 2
    chosen = images.classes[middle:] if split == "test" else images.classes[:middle]
    part = images.of_classes(chosen)
    return (
        part if split in ("test", "trainval") else carve(part, split, where, val_share=val_share, val_by=val_by, seed=seed)
    )


def carve(
    images: LabelledImages, split: str, where: str | Path, *, val_share: float, val_by: str, seed: int
) -> LabelledImages:
    """`train` or `val` of a training set.

    Args:
        images: the training set, as files.
        val_share: of the classes, or of the images of each, that go to `val`; 0: `train` is everything.
        val_by: "class": other classes in `val` than in `train`; "sample": the same ones.
        seed: draws them; the draw depends on names alone.

    Raises:
        ValueError: a share outside 0..1, one that leaves a part empty, an unknown `val_by`.
    """
    if val_by not in BY:
        raise UserError(f"{where}: validation is split off by class or by sample, not by {val_by!r}")
    if not 0 <= val_share < 1:
        raise UserError(f"{where}: val_share is a fraction from 0 to 1, not {val_share}")
    if not val_share:
        if split == "val":
            raise UserError(f"{where}: there is no split val without a val_share, such as 0.3")
        return images
    if val_by == "class":
        number = round(val_share * len(images.classes))
        if not 0 < number < len(images.classes):
            raise UserError(f"{where}: val_share {val_share} of {len(images.classes)} classes leaves a part without any")
        order = [images.classes[i] for i in seeded_order(images.classes, seed)]
        return images.of_classes(order[:number] if split == "val" else order[number:])
    chosen = _samples(images, where, val_share, seed)
    return images.subset(chosen if split == "val" else _others(len(images), chosen))


def _samples(images: LabelledImages, where: str | Path, share: float, seed: int) -> Tensor:
    names = [f"{path.parent.name}/{path.name}" for path in images.paths]
    chosen: list[int] = []
    for c, name in enumerate(images.classes):
        indices = (images.labels == c).nonzero().flatten().tolist()
        number = round(share * len(indices))
        if not 0 < number < len(indices):
            raise UserError(f"{where}: val_share {share} of the {len(indices)} images of {name!r} leaves a part without any")
        chosen += [indices[i] for i in seeded_order([names[i] for i in indices], seed)[:number]]
    return torch.tensor(sorted(chosen), dtype=torch.int64)


def _others(n: int, chosen: Tensor) -> Tensor:
    stays = torch.ones(n, dtype=torch.bool)
    stays[chosen] = False
    return stays.nonzero().flatten()
