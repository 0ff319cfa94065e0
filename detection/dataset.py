"""Annotated images as an mmdet data set. `data.readers.annotated_folder` reads them; this only hands its records on."""

import contextlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from mmdet.datasets.base_det_dataset import BaseDetDataset
from mmdet.registry import DATASETS
from mmengine.dataset import Compose
from mmengine.dist import is_main_process

from repmet.data.files.bodies import damaged
from repmet.data.readers.annotated_folder import read_images
from repmet.data.readers.voc_annotation import raise_problems
from repmet.data.sources.voc import ImageRecord
from repmet.detection.episodes.open_image import OpenImage
from repmet.errors import UserError
from repmet.wording import counted

SHOWN = 20  # classes of a training, in the line that tells of it


def batches_of_one_size(records: Sequence[ImageRecord], batch_size: int) -> Iterator[list[int]]:
    """Indices of the records, at most `batch_size` together and only images of one size.

    Padding to a common size would make what a network says of an image depend on its company.
    """
    by_size = defaultdict(list)
    for i, record in enumerate(records):
        by_size[record.height, record.width].append(i)
    for alike in by_size.values():
        yield from (alike[start : start + batch_size] for start in range(0, len(alike), batch_size))


@contextlib.contextmanager
def naming(record: ImageRecord) -> Iterator[None]:
    """Around what loads and transforms one image: where that fails, the file is named.

    Raises:
        UserError: the image is damaged, or of a shape that cannot be scaled to the size asked for.
    """
    try:
        yield
    except UserError:
        raise
    except (cv2.error, AssertionError, OSError, ValueError, ArithmeticError) as error:
        shape = f"{record.width}x{record.height}"
        reason = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, cv2.error):  # which tells of its own source
            reason = "it cannot be scaled"
        raise UserError(f"{record.path}: damaged, or too odd an image to be looked at ({shape}; {reason[:200]})") from error


def to_data_info(record: ImageRecord, classes: Sequence[str]) -> dict:
    """One record in the form that mmdet's transforms take.

    An object is *ignored* (neither foreground nor background in training) if it is marked difficult or if its class is not
    among `classes`: it is not labelled, which does not make it background.
    """
    label = {name: i for i, name in enumerate(classes)}
    return {
        "img_id": record.id,
        "img_path": str(record.path),
        "height": record.height,
        "width": record.width,
        "instances": [
            {"bbox": box.tolist(), "bbox_label": label.get(name, 0), "ignore_flag": int(difficult or name not in label)}
            for name, box, difficult in zip(record.names, record.boxes, record.difficult, strict=True)
        ],
    }


def sample(pipeline: Compose, record: ImageRecord, info: dict | None = None) -> dict:
    """What mmdet's pipeline makes of an image, whose first step loads it: of one in memory, what that step would have given.

    Args:
        info: of the record, by default as `to_data_info` of no class.

    Raises:
        ValueError: the image is damaged, or of a shape that cannot be scaled to the size asked for; it is named.
    """
    with naming(record):
        results = loaded(pipeline, record, info)
        for transform in pipeline.transforms[1:]:
            results = transform(results)
    return results


def loaded(pipeline: Compose, record: ImageRecord, info: dict | None = None) -> dict:
    """`sample` after the pipeline's first step: `img` (H, W, 3) in BGR beside what is known of the image."""
    results = dict(to_data_info(record, ()) if info is None else info)
    if not isinstance(record, OpenImage):
        return pipeline.transforms[0](results)
    image = np.ascontiguousarray(record.pixels[..., ::-1])
    return results | {"img": image, "img_shape": image.shape[:2], "ori_shape": image.shape[:2]}


@DATASETS.register_module()
class DevkitDataset(BaseDetDataset):
    """The images of one list of a VOC devkit, or of any annotated folder, for training and for base-class evaluation.

    Args:
        root: folder with JPEGImages, Annotations and ImageSets (or a VOCdevkit above it), or another annotated folder.
        image_set: name of a list, as `data.readers.annotated_folder.read_images` takes it.
        classes: the classes to detect, in label order.
        drop: images that hold an object of one of these classes are left out (base training never sees a novel object).
        pipeline, test_mode: as mmdet's data sets. Without `test_mode` images without a usable object are left out, and all
            others are read to their end before the training begins (`data.files.bodies`).

    Raises:
        ValueError: no image is left; images that cannot be decoded, all in one message.
    """

    def __init__(
        self,
        *,
        root: str,
        image_set: str,
        classes: Sequence[str],
        drop: Sequence[str] = (),
        pipeline: list,
        test_mode: bool = False,
    ) -> None:
        self.root, self.image_set, self.drop = root, image_set, frozenset(drop)
        super().__init__(metainfo={"classes": tuple(classes)}, pipeline=pipeline, test_mode=test_mode)

    def load_data_list(self) -> list[dict]:
        classes = self.metainfo["classes"]
        wanted = None if self.test_mode else classes
        listed = read_images(self.root, self.image_set, classes=wanted)
        self.listed = len(listed)
        self.records = [r for r in listed if not self.drop.intersection(r.names)]
        if not self.test_mode:
            usable = set(classes)
            self.records = [
                r for r in self.records if any(n in usable and not d for n, d in zip(r.names, r.difficult, strict=True))
            ]
        if not self.records:
            raise UserError(
                f"{self.root}: no image of '{self.image_set}' holds an object of the {len(classes)} classes to detect "
                f"without one of the {len(self.drop)} classes to leave out"
            )
        if not self.test_mode and is_main_process():
            raise_problems(self.root, damaged(r.path for r in self.records))
        return [to_data_info(r, classes) for r in self.records]

    def summary(self) -> str:
        """What is trained on, in one line: images, and the objects of each class that are not ignored."""
        classes = self.metainfo["classes"]
        objects = Counter(n for r in self.records for n, hard in zip(r.names, r.difficult, strict=True) if not hard)
        shown = ", ".join(f"{name} ({objects[name]})" for name in classes[:SHOWN])
        more = f" and {len(classes) - SHOWN} more" if len(classes) > SHOWN else ""
        number = counted(sum(objects[name] for name in classes), "object")
        images = f"{len(self.records)} of {counted(self.listed, 'image')} of {self.root}, {self.image_set}"
        return f"{images}: {number} of {counted(len(classes), 'class')}: {shown}{more}"

    def prepare_data(self, idx: int) -> dict:
        return self.pipeline(self.get_data_info(idx) | {"dataset": self})  # for transforms that mix images

    def filter_data(self) -> list[dict]:
        return self.data_list  # done above; mmdet's own filters know nothing of records
