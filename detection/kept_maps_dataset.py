"""Images as the maps that a frozen backbone made of them: a data set, its batches, and the hook that fills it."""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence

import mmcv
import numpy as np
import torch
from mmdet.registry import DATASETS
from mmdet.structures import DetDataSample
from mmengine.dist import get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.registry import DATA_SAMPLERS, HOOKS
from mmengine.runner import Runner
from mmengine.structures import InstanceData
from torch import nn
from torch.utils.data import Dataset

from repmet.data.sources.voc import ImageRecord
from repmet.detection.embedding.kept_maps import KeptMaps, Maps, View, kept_maps_of
from repmet.detection.image_sets import ImageSet, prefixed, read_sets
from repmet.detection.modules.load_image import bgr


@DATASETS.register_module()
class KeptMapsDataset(Dataset):
    """Every view of every image of many sets, as {inputs: maps (C_l, H_l, W_l), data_samples: boxes in the view's pixels}.

    Labels count through the label spaces of all sets (`ImageSet.labels`). What a set does not mark is ignored.

    Args:
        sets: as `detection.image_sets.read_sets` takes them.
        views: (size, mirrored) of each view.
        gigabytes: see `KeptMaps`.
    """

    def __init__(self, *, sets: Sequence[dict], views: Sequence[tuple[int, bool]], gigabytes: float = 20.0) -> None:
        self.views = [View(int(size), bool(mirror)) for size, mirror in views]
        self.gigabytes = gigabytes
        self.images: list[tuple[ImageRecord, list[dict]]] = []
        names: list[str] = []
        for image_set in read_sets(sets):
            self.images += [(prefixed(r, image_set.name), _instances(r, image_set, len(names))) for r in image_set.records]
            names += image_set.labels()
        self.metainfo = {"classes": tuple(names)}
        self.kept: KeptMaps | None = None  # set by the hook, with what makes the maps that are not kept
        self.look = None

    def __len__(self) -> int:
        return len(self.images) * len(self.views)

    def item(self, index: int) -> tuple[ImageRecord, list[dict], View]:
        image, view = divmod(index, len(self.views))
        return *self.images[image], self.views[view]

    def shape(self, index: int) -> tuple[int, int]:
        """Height and width of what the backbone sees, before padding."""
        record, _, view = self.item(index)
        width, height = mmcv.rescale_size((record.width, record.height), (view.size, view.size))
        return height, width

    def __getitem__(self, index: int) -> dict:
        record, instances, view = self.item(index)
        maps = self.kept.get(record.path, view)
        if maps is None:
            maps = self.look([record], view)[0]
        return {"inputs": maps, "data_samples": self._sample(index, record, instances, view)}

    def _sample(self, index: int, record: ImageRecord, instances: list[dict], view: View) -> DetDataSample:
        height, width = self.shape(index)
        scale = (width / record.width, height / record.height)
        boxes = torch.tensor([i["bbox"] for i in instances], dtype=torch.float32).view(-1, 4) * torch.tensor(scale * 2)
        if view.mirror:
            boxes[:, [0, 2]] = width - boxes[:, [2, 0]]
        ignored = torch.tensor([i["ignore_flag"] for i in instances], dtype=torch.bool)
        labels = torch.tensor([i["bbox_label"] for i in instances], dtype=torch.long)
        sample = DetDataSample(
            metainfo={
                "img_id": record.id,
                "img_path": str(record.path),
                "ori_shape": (record.height, record.width),
                "img_shape": (height, width),
                "scale_factor": scale,
                "flip": view.mirror,
            }
        )
        sample.gt_instances = InstanceData(bboxes=boxes[~ignored], labels=labels[~ignored])
        sample.ignored_instances = InstanceData(bboxes=boxes[ignored], labels=labels[ignored])
        return sample


def _instances(record: ImageRecord, image_set: ImageSet, first: int) -> list[dict]:
    """The objects of an image, with labels that count from `first`, and the boxes that its set leaves unmarked."""
    label = {name: first + i for i, name in enumerate(image_set.classes)}
    marked = [
        {"bbox": box.tolist(), "bbox_label": label.get(name, first), "ignore_flag": bool(difficult or name not in label)}
        for name, box, difficult in zip(record.names, record.boxes, record.difficult, strict=True)
    ]
    unmarked = image_set.unmarked.get(record.id, np.zeros((0, 4), np.float32))
    return marked + [{"bbox": box.tolist(), "bbox_label": first, "ignore_flag": True} for box in unmarked]


@DATA_SAMPLERS.register_module()
class ViewBatchSampler:
    """Batches of views that are alike in shape, so that little of a batch is padding.

    Args:
        sampler: gives indices of a `KeptMapsDataset`.
        batch_size: views a batch; the last ones of a shape are fewer.
    """

    def __init__(self, sampler, batch_size: int, drop_last: bool = False) -> None:
        self.sampler, self.batch_size, self.drop_last = sampler, batch_size, drop_last

    def _bucket(self, index: int) -> tuple[int, int]:
        height, width = self.sampler.dataset.shape(index)
        return max(height, width), round(2 * math.log2(width / height))

    def __iter__(self) -> Iterator[list[int]]:
        buckets: dict[tuple[int, int], list[int]] = defaultdict(list)
        for index in self.sampler:
            bucket = buckets[self._bucket(index)]
            bucket.append(index)
            if len(bucket) == self.batch_size:
                yield list(bucket)
                bucket.clear()
        if not self.drop_last:
            yield from (bucket for bucket in buckets.values() if bucket)

    def __len__(self) -> int:
        return -(-len(self.sampler) // self.batch_size)


class Looker:
    """Passes views through a frozen backbone: the same pixels, normalisation and padding as in evaluation."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    @torch.inference_mode()
    def __call__(self, records: Sequence[ImageRecord], view: View) -> list[Maps]:
        """The maps of images that have one size, each in half precision."""
        images = []
        for record in records:
            image = bgr(str(record.path))
            size = mmcv.rescale_size((record.width, record.height), (view.size, view.size))
            image = mmcv.imresize(image, size)
            image = mmcv.imflip(image) if view.mirror else image
            images.append(torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))))
        inputs = self.model.data_preprocessor({"inputs": images, "data_samples": None}, False)["inputs"]
        was_training = self.model.backbone.training
        levels = self.model.backbone.eval()(inputs)
        self.model.backbone.train(was_training)
        return [tuple(level[i].half().cpu() for level in levels) for i in range(len(records))]


@HOOKS.register_module()
class FillMapsHook(Hook):
    """Before the training: passes every view that is not kept yet through the backbone. An interrupted run goes on."""

    def __init__(self, batch_size: int = 4) -> None:
        self.batch_size = batch_size

    def before_train(self, runner: Runner) -> None:
        dataset = runner.train_dataloader.dataset
        model = runner.model.module if hasattr(runner.model, "module") else runner.model
        dataset.kept = kept_maps_of(model, dataset.gigabytes)
        dataset.look = Looker(model)
        missing: dict[tuple, list[int]] = defaultdict(list)
        for index in range(len(dataset)):
            record, _, view = dataset.item(index)
            if not dataset.kept.path(record.path, view).is_file():
                missing[(view, dataset.shape(index))].append(index)
        batches = [
            (view, some[k : k + self.batch_size])
            for (view, _), some in sorted(missing.items())
            for k in range(0, len(some), self.batch_size)
        ][get_rank() :: get_world_size()]
        total = sum(len(some) for _, some in batches)
        print_log(
            f"{len(dataset) - sum(map(len, missing.values()))} views are kept in {dataset.kept.folder}, {total} to make"
        )
        for done, (view, some) in enumerate(batches):
            records = [dataset.item(i)[0] for i in some]
            stored = [
                dataset.kept.put(r.path, view, maps) for r, maps in zip(records, dataset.look(records, view), strict=True)
            ]
            if not all(stored):
                return
            if done % 100 == 99:
                print_log(f"kept maps: {(done + 1) * self.batch_size} of {total}")
