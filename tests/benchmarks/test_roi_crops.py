"""Features of crops: what of the image a crop shows, and which parts of an embedded image they replace."""

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from repmet.benchmarks import roi_crops
from repmet.benchmarks.roi_crops import FEATURES, crops, cut_out, kinds_of, together
from repmet.benchmarks.roi_features import rows_of
from repmet.data.readers.voc_annotation import ImageRecord
from repmet.detection.embedding.embedded_image import EmbeddedImage
from repmet.detection.protocols.own_data import OwnData
from repmet.detection.scoring.rule import FewShotRule
from repmet.model_definitions.encoders.timm_models import IMAGENET_MEAN, IMAGENET_STD

RED, BLUE = (200, 0, 0), (0, 0, 200)


class MeanColour(torch.nn.Module):
    """(B, 3, H, W) -> the mean of each channel in the left and in the right half (B, 6), and 1."""

    out_channels = 7

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        halves = [half.mean((2, 3)) for half in images.chunk(2, -1)]
        return torch.cat([*halves, torch.ones(len(images), 1)], 1)


def scene(tmp_path, name: str, colours: list[tuple[int, int, int]]) -> tuple[ImageRecord, EmbeddedImage]:
    """Squares of 20 pixels on grey, a proposal on each and one on the ground; RoI features that tell nothing."""
    pixels = np.full((60, 120, 3), 128, np.uint8)
    boxes = np.array([[10 + 40 * k, 20, 30 + 40 * k, 40] for k in range(len(colours))], np.float32)
    for (x1, y1, x2, y2), colour in zip(boxes.astype(int), colours, strict=True):
        pixels[y1:y2, x1:x2] = colour
    Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    names = tuple("red" if colour == RED else "blue" for colour in colours)
    record = ImageRecord(name, tmp_path / f"{name}.png", 120, 60, names, boxes, np.zeros(len(boxes), bool))
    proposals = torch.from_numpy(np.concatenate([boxes, [[90, 20, 110, 40]]]).astype(np.float32))
    same = {space: F.normalize(torch.ones(len(proposals), 5), dim=1) for space in ("repmet", FEATURES)}
    marked = {space: values[: len(boxes)] for space, values in same.items()}
    views = {space: values[None] for space, values in marked.items()}
    return record, EmbeddedImage(proposals, proposals, torch.ones(len(proposals)), same, marked, views=views)


def test_a_crop_shows_its_box_and_a_margin() -> None:
    pixels = np.zeros((60, 60, 3), np.uint8)
    pixels[20:40, 20:40] = 255
    white = (1 - np.array(IMAGENET_MEAN)) / IMAGENET_STD
    piece = crops(Image.fromarray(pixels), np.array([[20, 20, 40, 40], [-5, 50, 70, 90]]))
    assert piece.shape == (2, 3, 112, 112)
    np.testing.assert_allclose(piece[0, :, 56, 56], white, rtol=1e-5)
    inside = (piece[0, 0] > 0).float().mean().sqrt()  # 20 of 24 pixels, by area
    assert abs(float(inside) - 20 / 24) < 0.03
    assert (piece[1] < 0).all()  # the box is cut at the image's borders


def test_crops_replace_roi_features_and_mirror_the_marks(tmp_path) -> None:
    record, image = scene(tmp_path, "a", [RED, BLUE])
    cut = cut_out(image, record, MeanColour())
    assert cut.embeddings["repmet"] is image.embeddings["repmet"]
    assert cut.embeddings[FEATURES].shape == (3, 7) and cut.annotated[FEATURES].shape == (2, 7)
    torch.testing.assert_close(cut.annotated[FEATURES], cut.embeddings[FEATURES][:2])  # the same boxes
    left, right, ones = cut.annotated[FEATURES].split([3, 3, 1], 1)
    torch.testing.assert_close(cut.views[FEATURES][0], torch.cat([right, left, ones], 1))
    both = together(image, cut)
    assert both.embeddings[FEATURES].shape == (3, 12) and both.views[FEATURES].shape == (1, 2, 12)
    torch.testing.assert_close(
        both.annotated[FEATURES] * 2**0.5, torch.cat([image.annotated[FEATURES], cut.annotated[FEATURES]], 1)
    )


def test_crops_find_what_roi_features_cannot_tell(tmp_path, monkeypatch, capsys) -> None:
    scenes = [scene(tmp_path, f"{k}", [RED, BLUE] if k % 2 else [BLUE, RED]) for k in range(6)]
    records = [record for record, _ in scenes]
    data = OwnData("set", ("red", "blue"), records[:3], records[3:], {r.id: image for r, image in scenes})
    kinds = kinds_of(MeanColour(), 3, data)
    assert "3 crops of an image take" in capsys.readouterr().out
    rows = rows_of(kinds, FewShotRule(support_views=2), [2], [0, 1])
    ap = {row["method"]: row["AP50"]["mean"] for row in rows}
    assert ap["logistic, crops"] > 0.99 and ap["nearest support, crops"] > 0.99
    assert ap["logistic, RoI"] < 0.9
    against = {row["method"]: row.get("against") for row in rows}
    assert against["logistic, crops"] == "logistic, RoI" and against["logistic, RoI"] is None
    assert roi_crops.main(["--data", str(tmp_path / "none")]) == 2
