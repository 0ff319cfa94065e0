"""Embedder: what it keeps of an image, against the network run by hand; and that its baseline harms nothing."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from repmet.data.sources.voc import ImageRecord
from repmet.detection.dataset import to_data_info
from repmet.detection.embedding.embedded_image import SPACES
from repmet.detection.embedding.embedder import Embedder

SIZES = [(120, 80), (80, 120), (120, 80), (100, 100), (120, 80)]  # width, height
WIDTHS = {"repmet": 8, "baseline_untrained": 8, "baseline_roi": 24}


@pytest.fixture(autouse=True)
def _scope():
    from mmengine.registry import DefaultScope

    with DefaultScope.overwrite_default_scope("mmdet"):
        yield


@pytest.fixture(scope="module")
def records(tmp_path_factory) -> list[ImageRecord]:
    """Images of three sizes with 2, 1, 0, 3 and 1 boxes."""
    folder: Path = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    made = []
    for k, ((width, height), count) in enumerate(zip(SIZES, (2, 1, 0, 3, 1), strict=True)):
        path = folder / f"{k}.png"
        coarse = Image.fromarray(rng.integers(0, 255, (8, 12, 3), np.uint8))
        coarse.resize((width, height)).save(path)
        corner = rng.uniform(0, 40, (count, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(15, 40, (count, 2))], 1).astype(np.float32)
        made.append(ImageRecord(str(k), path, width, height, ("thing",) * count, boxes, np.zeros(count, bool)))
    return made


def pipeline(scale=(240, 160)):
    return [
        {"type": "LoadImageFromFile"},
        {"type": "Resize", "scale": scale, "keep_ratio": True},
        {"type": "PackDetInputs", "meta_keys": ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")},
    ]


def trained(build_detector, **head):
    """A detector whose head is not as it was initialised."""
    model = build_detector(head or None, proposals=30).eval()
    torch.manual_seed(4)
    for layer in model.roi_head.bbox_head.modules():
        if isinstance(layer, torch.nn.Linear):
            layer.reset_parameters()
    return model


@torch.no_grad()
def by_hand(model, record, steps):
    """The network on one image: its levels, its proposals, and x and y scale from the file to it."""
    from mmengine.dataset import Compose, pseudo_collate

    sample = Compose(steps)(to_data_info(record, ()))
    data = model.data_preprocessor(pseudo_collate([sample]), False)
    levels = model.extract_feat(data["inputs"])
    (proposals,) = model.rpn_head.predict(levels, data["data_samples"], rescale=False)
    return levels, proposals, data["data_samples"][0]


@torch.no_grad()
def pooled_from(model, levels, boxes):
    rois = torch.cat([torch.zeros(len(boxes), 1), boxes], 1)
    return model.roi_head._bbox_forward(levels, rois)["bbox_feats"], rois


@pytest.mark.parametrize("scale", [(240, 160), (90, 90), (120, 80)], ids=["larger", "smaller", "as-it-is"])
def test_an_image_is_what_the_network_gives_by_hand(build_detector, records, scale):
    model = trained(build_detector)
    head = model.roi_head.bbox_head
    embedded = Embedder(model, pipeline(scale), batch_size=2)(records)
    assert list(embedded) == [r.id for r in records]
    for record in records:
        image = embedded[record.id]
        levels, predicted, sample = by_hand(model, record, pipeline(scale))
        proposals = predicted.bboxes
        x, y = sample.scale_factor
        assert (x, y) != (1, 1) or scale == (120, 80)
        factor = torch.tensor([x, y, x, y])
        torch.testing.assert_close(image.proposals, proposals / factor, rtol=1e-4, atol=1e-2)
        torch.testing.assert_close(image.objectness, predicted.scores, rtol=1e-4, atol=1e-5)

        pooled, rois = pooled_from(model, levels, proposals)
        with torch.no_grad():
            features, _ = head.roi_features(pooled)
            scores, deltas = head(pooled)
            (raw,) = head.predict_by_feat((rois,), (scores,), (deltas,), [sample.metainfo], None, rescale=True)
        torch.testing.assert_close(image.boxes, raw.bboxes, rtol=1e-3, atol=1e-2)
        torch.testing.assert_close(image.embeddings["repmet"], head.embed(features).detach(), rtol=1e-3, atol=1e-4)
        roi = features / features.norm(dim=1, keepdim=True)
        torch.testing.assert_close(image.embeddings["baseline_roi"], roi, rtol=1e-3, atol=1e-4)

        pooled, _ = pooled_from(model, levels, torch.from_numpy(record.boxes) * factor)
        with torch.no_grad():
            annotated = head.embed(head.roi_features(pooled)[0])
        torch.testing.assert_close(image.annotated["repmet"], annotated, rtol=1e-3, atol=1e-4)


def test_shapes_lengths_and_pixels(build_detector, records):
    embedded = Embedder(trained(build_detector), pipeline())(records)
    for record in records:
        image = embedded[record.id]
        count = len(image.boxes)
        assert 0 < count <= 30 and image.boxes.shape == image.proposals.shape == (count, 4)
        edge = torch.tensor([record.width, record.height] * 2)
        for boxes in (image.boxes, image.proposals):
            assert boxes.min() >= 0 and (boxes <= edge + 1e-3).all()
        assert image.proposals[:, 2].max() > 0.6 * record.width  # pixels of the file, not a part of them
        for kept, rows in ((image.embeddings, count), (image.annotated, len(record.boxes))):
            assert tuple(kept) == SPACES
            for space, width in WIDTHS.items():
                assert kept[space].shape == (rows, width)
                torch.testing.assert_close(kept[space].norm(dim=1), torch.ones(rows))


@pytest.mark.parametrize("batch_size", [2, 3, 8])
def test_batching_does_not_change_what_is_found(build_detector, records, batch_size):
    """Also for images of different sizes, which in one batch would pad each other."""
    model = trained(build_detector)
    single = Embedder(model, pipeline(), batch_size=1)(records)
    many = Embedder(model, pipeline(), batch_size=batch_size)(records)
    assert list(single) == list(many)
    for name in single:
        torch.testing.assert_close(many[name].boxes, single[name].boxes, rtol=1e-3, atol=1e-2)
        for space in SPACES:
            for kept in ("embeddings", "annotated"):
                left, right = getattr(many[name], kept)[space], getattr(single[name], kept)[space]
                torch.testing.assert_close(left, right, rtol=1e-3, atol=1e-4)


def test_every_record_is_read_once(build_detector, records):
    embedder = Embedder(trained(build_detector), pipeline(), batch_size=2)
    seen, load = [], embedder.pipeline.transforms[0]

    def counting(info):
        seen.append(info["img_id"])
        return load(info)

    embedder.pipeline.transforms[0] = counting
    embedded = embedder(r for r in [*records, *records[:3], records[0]])
    assert sorted(seen) == sorted(embedded) == [r.id for r in records]
    assert embedder([]) == {}


def test_an_image_without_proposals(build_detector, records):
    model = trained(build_detector)
    model.test_cfg.rpn.min_bbox_size = 10_000
    for name, image in Embedder(model, pipeline())(records).items():
        assert image.boxes.shape == image.proposals.shape == (0, 4)
        assert image.embeddings["repmet"].shape == (0, 8)
        assert len(image.annotated["repmet"]) == len(records[int(name)].boxes)


def test_the_untrained_head_is_another_one_of_the_same_make(build_detector, records):
    model = trained(build_detector)
    head = model.roi_head.bbox_head
    embedder = Embedder(model, pipeline(), seed=3)
    fresh, kept = dict(embedder.untrained.named_parameters()), dict(head.named_parameters())
    assert fresh.keys() == kept.keys()
    assert all(fresh[n].shape == kept[n].shape for n in kept)
    assert fresh["fcs.0.weight"].std().item() == pytest.approx(0.01, rel=0.2)  # as a head starts
    for name in ("fcs.0.weight", "fcs.1.weight", "fc_embed.weight", "representatives.weight"):
        assert not torch.equal(fresh[name], kept[name])
        assert fresh[name].data_ptr() != kept[name].data_ptr()
    embedded = embedder(records[:1])["0"]
    assert (embedded.embeddings["repmet"] - embedded.embeddings["baseline_untrained"]).abs().max() > 0.1
    levels, predicted, _ = by_hand(model, records[0], pipeline())
    proposals = predicted.bboxes
    pooled, _ = pooled_from(model, levels, proposals)
    with torch.no_grad():
        expected = embedder.untrained.embed(embedder.untrained.roi_features(pooled)[0])
    torch.testing.assert_close(embedded.embeddings["baseline_untrained"], expected, rtol=1e-3, atol=1e-4)


def test_the_untrained_head_follows_its_seed_and_nothing_else(build_detector):
    model = trained(build_detector)
    torch.manual_seed(1)
    first = Embedder(model, pipeline(), seed=3).untrained.state_dict()
    torch.manual_seed(2)
    again = Embedder(model, pipeline(), seed=3).untrained.state_dict()
    other = Embedder(model, pipeline(), seed=4).untrained.state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["fcs.0.weight"], other["fcs.0.weight"])


def test_the_trained_model_and_the_global_generators_are_left_alone(build_detector, records):
    model = trained(build_detector)
    weights = copy.deepcopy(model.state_dict())
    torch.manual_seed(11)
    np.random.seed(11)
    state, numpy_state = torch.random.get_rng_state(), np.random.get_state()[1].copy()
    Embedder(model, pipeline())(records)
    assert torch.equal(state, torch.random.get_rng_state())
    assert np.array_equal(numpy_state, np.random.get_state()[1])
    assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())
    assert not model.training and all(p.grad is None for p in model.parameters())


def test_mmengines_log_level_is_restored(build_detector):
    from mmengine.logging import MMLogger

    before = MMLogger.get_current_instance().level
    Embedder(trained(build_detector), pipeline())
    assert MMLogger.get_current_instance().level == before


def test_a_stage_between_pooling_and_head(build_detector, records):
    """As a C4 detector has it: mmdet's `shared_head`."""
    model = trained(build_detector)
    model.roi_head.shared_head = torch.nn.Conv2d(16, 16, 3, padding=1)
    head = model.roi_head.bbox_head
    image = Embedder(model, pipeline())(records[:1])["0"]
    levels, predicted, _ = by_hand(model, records[0], pipeline())
    proposals = predicted.bboxes
    _, rois = pooled_from(model, levels, proposals)
    with torch.no_grad():
        plain = model.roi_head.bbox_roi_extractor(levels[:4], rois)
        expected = head.embed(head.roi_features(model.roi_head.shared_head(plain))[0])
    torch.testing.assert_close(image.embeddings["repmet"], expected, rtol=1e-3, atol=1e-4)
    assert (F.normalize(head.roi_features(plain)[0], dim=1) - image.embeddings["baseline_roi"]).abs().max() > 1e-2


def test_a_detector_without_an_embedding_is_refused(build_detector):
    head = {"type": "Shared2FCBBoxHead", "num_classes": 3, "in_channels": 16, "roi_feat_size": 3, "fc_out_channels": 8}
    with pytest.raises(ValueError, match=r"need a RepMetBBoxHead; this detector's head is a Shared2FCBBoxHead"):
        Embedder(build_detector(head), pipeline())


def test_boxes_by_class_are_refused(build_detector):
    with pytest.raises(ValueError, match="reg_class_agnostic"):
        Embedder(build_detector({"reg_class_agnostic": False}), pipeline())


def test_the_untrained_head_is_made_only_where_its_space_is_asked_for(build_detector, records):
    embedder = Embedder(trained(build_detector), pipeline(), spaces=("repmet", "baseline_roi"))
    (embedded,) = embedder(records[:1]).values()
    assert set(embedded.embeddings) == {"repmet", "baseline_roi"} and "untrained" not in vars(embedder)
    embedder.spaces = ("baseline_untrained",)
    embedder(records[:1])
    assert "untrained" in vars(embedder)
