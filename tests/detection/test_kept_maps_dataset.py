"""Kept maps as training data: the boxes of every view, label spaces, batches, and maps that are those of evaluation."""

import json
from pathlib import Path

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import DefaultScope
from small_photos import pets, small_model

from repmet.data.readers.annotated_folder import read_images
from repmet.detection.dataset import to_data_info
from repmet.detection.embedding.kept_maps import View, view_of
from repmet.detection.kept_maps_dataset import KeptMapsDataset, Looker, ViewBatchSampler

pytest.importorskip("timm")
PIPELINE = [
    {"type": "LoadImageFromFile"},
    {"type": "Resize", "scale": (96, 96), "keep_ratio": True},
    {"type": "PackDetInputs", "meta_keys": ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return pets(tmp_path_factory.mktemp("pets"))


@pytest.fixture(scope="module")
def model(folder) -> torch.nn.Module:
    return small_model(folder)


def dataset(folder: Path, *views: tuple[int, bool], **keys) -> KeptMapsDataset:
    return KeptMapsDataset(sets=[{"name": "pets", "root": folder} | keys], views=views)


def sample(data: KeptMapsDataset, index: int):
    record, instances, view = data.item(index)
    return data._sample(index, record, instances, view)


def test_boxes_follow_their_view(folder):
    data = dataset(folder, (96, False), (240, True))
    assert len(data) == 8 and data.shape(0) == (48, 96) and data.shape(3) == (240, 120)
    plain, mirrored = sample(data, 0), sample(data, 1)
    torch.testing.assert_close(plain.gt_instances.bboxes[0], torch.tensor([10.0, 20, 40, 45]) * 0.8)
    torch.testing.assert_close(mirrored.gt_instances.bboxes[0], torch.tensor([120.0 - 40, 20, 120 - 10, 45]) * 2)
    assert plain.gt_instances.labels.tolist() == [0, 1]


def test_every_set_has_labels_of_its_own_and_what_it_does_not_mark_is_ignored(folder, tmp_path):
    teacher = tmp_path / "teacher.json"
    teacher.write_text(json.dumps([{"image_id": "0", "bbox": [50, 5, 10, 10]}]))
    sets = [{"name": "a", "root": folder}, {"name": "b", "root": folder, "without": ["cat"], "unmarked": str(teacher)}]
    data = KeptMapsDataset(sets=sets, views=[(120, False)])
    assert data.metainfo["classes"] == ("a/cat", "a/dog", "b/dog")
    second = sample(data, 4)
    assert second.gt_instances.labels.tolist() == [2]
    torch.testing.assert_close(second.ignored_instances.bboxes, torch.tensor([[10.0, 20, 40, 45], [50, 5, 60, 15]]))


def test_batches_are_alike_in_shape_and_leave_nothing_out(folder):
    data = dataset(folder, (96, False), (64, False))

    class Sampler(list):
        dataset = data

    batches = list(ViewBatchSampler(Sampler(range(8)), 2))
    assert sorted(i for batch in batches for i in batch) == list(range(8))
    assert all(len({data.shape(i) for i in batch}) == 1 for batch in batches)


def test_maps_are_those_of_evaluation_bit_for_bit(folder, model):
    record = read_images(folder)[0]
    assert view_of(PIPELINE) == View(96)
    with DefaultScope.overwrite_default_scope("mmdet"):
        shown = Compose(PIPELINE)(to_data_info(record, ()))
    inputs = model.data_preprocessor(pseudo_collate([shown]), False)["inputs"]
    expected = model.backbone(inputs)
    maps = Looker(model)([record], View(96))[0]
    assert all(torch.equal(a.float(), b[0]) for a, b in zip(maps, expected, strict=True))
    mirrored = Looker(model)([record], View(96, mirror=True))[0]
    assert not torch.equal(mirrored[0], maps[0])


def test_maps_of_several_sizes_are_padded_with_nothing(model):
    maps = [[torch.ones(2, 3, 4).half(), torch.ones(2, 2, 6).half()]]
    sizes = [(90, 120), (64, 190)]
    samples = [DetDataSample(metainfo={"img_shape": size}) for size in sizes]
    batch = model.data_preprocessor({"inputs": maps, "data_samples": samples}, True)
    (level,) = batch["inputs"]
    assert level.shape == (2, 2, 3, 6) and level.dtype == torch.float32
    assert level[0].sum() == 24 and level[1].sum() == 24 and level[1, :, 2].sum() == 0
    assert [s.pad_shape for s in batch["data_samples"]] == [(96, 128), (64, 192)]
    assert {s.batch_input_shape for s in batch["data_samples"]} == {(96, 192)}


@pytest.mark.parametrize(
    "pipeline",
    [
        PIPELINE[:1],
        [*PIPELINE[:2], {"type": "RandomFlip"}],
        [{"type": "Resize", "scale": (9, 8)}],
        [object(), *PIPELINE[1:]],
    ],
)
def test_other_pipelines_show_no_view(pipeline):
    assert view_of(pipeline) is None
