"""Few-shot detection of images of every kind: their order, one or many, as they are asked for, and what is none."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from PIL import Image

from repmet.detection import checkpoint
from repmet.detection.few_shot_detector import FewShotDetector
from repmet.detection.results import Detections


def test_a_photograph_held_on_its_side_is_looked_at_upright(taught, photos, tmp_path) -> None:
    with Image.open(photos / "wide.png") as image:
        image.save(tmp_path / "upright.png")
        exif = Image.Exif()
        exif[0x0112] = 6  # turn by 90 degrees clockwise to view
        image.rotate(90, expand=True).convert("RGB").save(tmp_path / "turned.jpg", exif=exif, quality=100, subsampling=0)
    results = list(taught.detect(tmp_path, min_score=0.0))
    assert [result.size for result in results] == [(160, 120), (160, 120)]
    boxes = {result.image.path.name: result.boxes for result in results}
    assert boxes["turned.jpg"][:, 2].max() > 121  # wider than it is stored


def test_results_come_in_the_order_of_the_images_whatever_they_are(taught, photos) -> None:
    paths = sorted(photos.iterdir())
    pictures = [Image.open(p).convert("RGB") for p in paths]
    tensor = torch.from_numpy(np.array(pictures[1])).permute(2, 0, 1)
    mixed = [paths[3], pictures[0], str(paths[2]), np.asarray(pictures[0]), tensor, tensor / 255, paths[3]]
    alone = {k: taught.detect(paths[k], min_score=0.0) for k in (0, 1, 2, 3)}
    results = taught.detect(mixed, min_score=0.0)
    assert isinstance(results, Iterator)
    results = list(results)
    for result, k in zip(results, (3, 0, 2, 0, 1, 1, 3), strict=True):
        assert result.size == pictures[k].size and result.classes == taught.classes
        assert result.labels.tolist() == alone[k].labels.tolist() and len(result) > 3
        np.testing.assert_allclose(result.scores, alone[k].scores, atol=1e-5)
        np.testing.assert_allclose(result.boxes, alone[k].boxes, atol=1e-2)
        assert (np.diff(result.scores) <= 0).all()
    assert [r.image.name for r in results][1::2] == ["image 2", "image 4", "image 6"]
    np.testing.assert_array_equal(np.asarray(results[4].open()), np.asarray(pictures[1]))


def test_one_image_has_one_result(taught, photos) -> None:
    path = photos / "wide.png"
    for image in (path, str(path), Image.open(path), np.asarray(Image.open(path).convert("RGB"))):
        result = taught.detect(image)
        assert isinstance(result, Detections) and result.size == (160, 120) and (result.scores >= 0.05).all()
    assert len(list(taught.detect([path]))) == 1


def test_images_are_looked_at_as_they_are_asked_for(taught, photos) -> None:
    """A camera's images: each has its result before the next one is taken."""
    taken = []

    def camera():
        for path in sorted(photos.iterdir()):
            taken.append(path)
            yield Image.open(path)

    results = taught.detect(camera(), progress=False)
    assert taken == []
    next(results)
    assert len(taken) == 1
    assert len(list(results)) == 3


def test_what_is_no_image_is_said_before_any_is_looked_at(taught, photos, tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match=r"gone\.png: no such image or folder"):
        taught.detect([photos, tmp_path / "gone.png"])
    with pytest.raises(ValueError, match=r"min_score is in \[0, 1\], not 5"):
        taught.detect(photos, min_score=5)
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(ValueError, match=r"text\.png: cannot be read as an image"):
        taught.detect(tmp_path / "text.png")
    unreadable: list[str] = []
    results = list(taught.detect([tmp_path / "text.png", photos / "wide.png"], unreadable=unreadable))
    assert [f.image.path.name for f in results] == ["wide.png"] and len(unreadable) == 1


def test_what_a_head_without_classes_finds_is_called_objects(photos) -> None:
    """The weights that ship tell no classes apart: none of those that they were trained on is what they found."""
    if not checkpoint.SHIPPED.is_file():
        pytest.skip("no weights ship with this copy")
    detector = FewShotDetector()
    assert detector.classes == ("object",) and len(detector.cfg.data.base_classes) > 1
    result = detector.detect(photos / "wide.png")
    assert set(result.names) <= {"object"} and result.classes == ("object",)
