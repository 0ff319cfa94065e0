"""RoI features of other frozen maps: those of the detector's own maps are the detector's own."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from repmet.benchmarks import roi_backbones
from repmet.benchmarks.roi_backbones import LITE0, Maps, kinds_of
from repmet.data.readers.voc_annotation import ImageRecord
from repmet.detection.embedding.embedded_image import FEATURES
from repmet.detection.embedding.embedder import caching_embedder
from repmet.detection.embedding.views import with_views
from repmet.detection.protocols.own_data import OwnData
from repmet.model_definitions.encoders.timm_encoder import TimmMaps


@pytest.fixture(scope="module")
def kinds(shipped_detector, tmp_path_factory) -> dict[str, OwnData]:
    folder = tmp_path_factory.mktemp("scene")
    pixels = np.random.default_rng(0).integers(90, 160, (150, 200, 3), np.uint8)
    pixels[40:90, 60:120] = (200, 30, 30)
    Image.fromarray(pixels).save(folder / "a.png")
    boxes = np.array([[60, 40, 120, 90], [10, 100, 60, 140]], np.float32)
    record = ImageRecord("a", folder / "a.png", 200, 150, ("cup", "cup"), boxes, np.zeros(2, bool))
    embedder = caching_embedder(shipped_detector, (FEATURES,))
    embedded = with_views(embedder([record]), [record], embedder, [(1, 1.0)])
    others = {"mean alone": Maps(LITE0, grid_weight=0.0), "stride 32": Maps(LITE0, strides=(32,), cells=2)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(roi_backbones, "KINDS", {"same": Maps(LITE0)} | others)
        trunks = {LITE0: TimmMaps(LITE0, "package").eval()}
        return kinds_of(embedder, trunks, OwnData("set", ("cup",), [record], [], embedded))


def test_the_detectors_maps_give_its_features(kinds) -> None:
    shipped, same = kinds["as shipped"].embedded["a"], kinds["same"].embedded["a"]
    assert same.boxes is shipped.boxes and len(shipped.embeddings[FEATURES]) > 5
    for part in ("embeddings", "annotated", "views"):
        torch.testing.assert_close(getattr(same, part)[FEATURES], getattr(shipped, part)[FEATURES], atol=1e-5, rtol=1e-4)


def test_fewer_parts_are_parts_of_them(kinds) -> None:
    shipped = kinds["as shipped"].embedded["a"].annotated[FEATURES]
    mean = kinds["mean alone"].embedded["a"].annotated[FEATURES]
    torch.testing.assert_close(mean[:, :432], F.normalize(shipped[:, :432], dim=1), atol=1e-5, rtol=1e-4)
    assert not mean[:, 432:].any()
    coarse = kinds["stride 32"].embedded["a"]
    assert coarse.annotated[FEATURES].shape == (2, 5 * 320) and coarse.views[FEATURES].shape == (1, 2, 5 * 320)
    torch.testing.assert_close(coarse.annotated[FEATURES].norm(dim=1), torch.ones(2))


def test_a_set_that_is_missing_is_named(tmp_path, capsys) -> None:
    assert roi_backbones.main(["--data", str(tmp_path / "none")]) == 2
    assert "none" in capsys.readouterr().err
