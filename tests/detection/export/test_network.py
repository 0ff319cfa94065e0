"""The exported graph gives what the detector gives in torch, by either runtime."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from exported_photos import SIZES, marks, scenes

from repmet.detection.base_detections import base_detections
from repmet.detection.embedding.embedder import Embedder
from repmet.detection.episodes.open_image import OpenImage
from repmet.detection.export.network import ExportedNetwork, rounded_to_half
from repmet.detection.export.parity import PIXELS, TIES, VALUES, check_parity, difference, pairs
from repmet.detection.exported.look import ExportedDetector
from repmet.detection.exported.resize import fitted_size, resized
from repmet.errors import UserError


@pytest.fixture(scope="module")
def records() -> list[OpenImage]:
    from PIL import Image

    return [
        OpenImage.of(f"{k}", Image.fromarray(image), ["thing"] * 5, marks(k, *size))
        for k, (image, size) in enumerate(zip(scenes(), SIZES, strict=True))
    ]


@pytest.fixture(scope="module")
def embedder(shipped_detector) -> Embedder:
    return Embedder(shipped_detector.model, shipped_detector.cfg.test_pipeline, spaces=("repmet",))


def same(expected: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    a, b = pairs(expected, boxes)
    assert len(expected) - len(a) <= TIES * len(expected), f"{len(expected) - len(a)} of {len(expected)} are not there"
    return a, b


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_boxes_objectness_and_embeddings_are_torchs(runtime, exported_photos, embedder, records, shipped_detector) -> None:
    pytest.importorskip(runtime)
    detector = ExportedDetector(exported_photos, runtime, threads=1)
    for record in records:
        expected, seen = embedder([record])[record.id], detector.look(record.pixels, record.boxes)
        a, b = same(expected.proposals.numpy(), seen.proposals)
        np.testing.assert_allclose(seen.boxes[b], expected.boxes.numpy()[a], atol=PIXELS)
        np.testing.assert_allclose(seen.objectness[b], expected.objectness.numpy()[a], atol=VALUES)
        np.testing.assert_allclose(seen.embeddings[b], expected.embeddings["repmet"].numpy()[a], atol=VALUES)
        np.testing.assert_allclose(seen.marked, expected.annotated["repmet"].numpy(), atol=VALUES)
        assert seen.boxes.dtype == seen.objectness.dtype == np.float32 and len(seen.boxes) == len(seen.objectness)
        ((objects, _),) = base_detections(shipped_detector.model, shipped_detector.cfg.test_pipeline, [record])
        a, b = same(objects.boxes, seen.objects)
        np.testing.assert_allclose(seen.object_scores[b], objects.scores[a], atol=VALUES)


def test_the_modules_that_are_traced_give_the_same_in_torch(shipped_detector, embedder, records) -> None:
    """So what a runtime gives otherwise is the runtime's."""
    network = ExportedNetwork(shipped_detector.model)
    record = replace(records[0], boxes=records[0].boxes[:2], names=("a", "b"), difficult=np.zeros(2, bool))
    image = torch.from_numpy(resized(record.pixels, fitted_size(record.width, record.height, 384)))
    with torch.no_grad():
        boxes, proposals, objectness, embeddings, *_ = network(image, torch.zeros(0, 4))
    expected = embedder([record])[record.id]
    scale = image.shape[1] / record.width
    np.testing.assert_allclose(proposals / scale, expected.proposals, atol=1e-3)
    np.testing.assert_allclose(boxes / scale, expected.boxes, atol=1e-3)
    np.testing.assert_allclose(objectness, expected.objectness, atol=1e-6)
    np.testing.assert_allclose(embeddings, expected.embeddings["repmet"], atol=1e-6)


def test_the_rounding_is_that_of_half_precision() -> None:
    values = torch.cat([torch.randn(20_000) * scale for scale in (1e-3, 1.0, 100.0)])
    values = values[values.abs() > 2**-14]  # below, half precision has fewer bits
    torch.testing.assert_close(rounded_to_half(values), values.half().float(), rtol=0, atol=0)


def test_another_kind_of_detector_is_refused(build_detector) -> None:
    with pytest.raises(UserError, match=r"only detectors on a frozen backbone are exported .* a FasterRCNN"):
        ExportedNetwork(build_detector())


def test_a_runtime_that_differs_is_told(exported_photos, embedder, records) -> None:
    detector = ExportedDetector(exported_photos, "onnxruntime", threads=1)
    check_parity(embedder, detector, records[:1])
    look = detector.look

    def askew(pixels: np.ndarray, marks: np.ndarray | None = None):
        seen = look(pixels, marks)
        return replace(seen, embeddings=seen.embeddings + 2 * VALUES)

    detector.look = askew
    with pytest.raises(UserError, match="onnxruntime gives other results than torch here"):
        check_parity(embedder, detector, records[:1])
    apart = difference(embedder(records[:1])[records[0].id], replace(look(records[0].pixels), proposals=np.zeros((0, 4))))
    assert apart.chosen_otherwise == apart.boxes and not apart.is_small
