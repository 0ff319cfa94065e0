"""Tiles: where they lie, what they cut off, which supports go into which; and that small objects are found by them."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageDraw

from repmet.detection.episodes.open_image import OpenImage
from repmet.detection.tiles import LARGER, MAX_TILES, OVERLAP, check_tile, cut_out, tile_of, tile_side, uncut, windows
from repmet.errors import UserError


def image(width: int, height: int, boxes=(), names=None) -> OpenImage:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))
    return OpenImage.of("ground", picture, names or ["thing"] * len(boxes), boxes)


@pytest.mark.parametrize("size", [(1000, 700), (2048, 2048), (301, 2000), (640, 100), (5000, 4000)])
def test_tiles_cover_the_image_evenly_and_overlap(size) -> None:
    width, height = size
    tiles = windows(width, height, 200)
    assert 1 < len(tiles) <= MAX_TILES and len(set(tiles)) == len(tiles)
    covered = np.zeros((height, width), bool)
    for x1, y1, x2, y2 in tiles:
        assert 0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height
        covered[y1:y2, x1:x2] = True
    assert covered.all() and len({(x2 - x1, y2 - y1) for x1, y1, x2, y2 in tiles}) == 1
    side = tiles[0][2] - tiles[0][0]
    lefts = sorted({t[0] for t in tiles})
    assert all(b - a <= (1 - OVERLAP) * side + 1 for a, b in itertools.pairwise(lefts))


def test_images_that_are_hardly_larger_than_a_tile_are_not_cut() -> None:
    assert windows(int(200 * LARGER), 200, 200) == [] and windows(400, 400, None) == []


def test_what_a_tile_cuts_off_is_left_out_but_not_at_the_images_own_sides() -> None:
    window = (0, 100, 200, 300)  # at the image's left side
    boxes = np.array(
        [[0, 50, 30, 80], [20, 0, 60, 40], [150, 50, 200, 90], [50, 160, 90, 199], [20, 20, 60, 60]], np.float32
    )
    assert uncut(boxes, window, 500, 500).tolist() == [True, False, False, False, True]
    assert uncut(boxes, window, 500, 300).tolist() == [True, False, False, True, True]


def test_the_smallest_class_decides() -> None:
    records = [image(2000, 2000, [(0, 0, 30, 30), (0, 0, 50, 50), (0, 0, 40, 40), (0, 0, 900, 900)], ["a", "a", "a", "b"])]
    assert tile_side("auto", records, 384) == 40 * 384 // 48
    assert tile_side("auto", [image(300, 300, [(0, 0, 4, 4)])], 384) == 192  # no more than twice as large as it is
    assert tile_side("off", records, 384) is None and tile_side("auto", records, None) is None
    assert tile_side(500, records, 384) == 500


@pytest.mark.parametrize("tile", ["small", 31, 0, True, -3, "12.5", None])
def test_what_is_no_tile_is_refused(tile) -> None:
    with pytest.raises(UserError, match="tile is auto, off or a side of at least 32 pixels"):
        check_tile(tile)
    assert check_tile("300") == 300


def test_supports_go_into_tiles_around_them_once_each() -> None:
    boxes = [(10, 10, 40, 40), (60, 30, 90, 60), (900, 700, 930, 735), (100, 100, 700, 700)]
    record = image(1000, 800, boxes)
    parts = cut_out([record], 200)
    assert [len(p.names) for p in parts] == [2, 1, 1]
    large = [p for p in parts if p.width == 1000]  # larger than a tile: in its whole image
    assert len(large) == 1 and large[0].boxes.tolist() == [list(boxes[3])]
    for part in parts[:2]:
        assert (part.width, part.height) == (200, 200) and part.pixels.shape == (200, 200, 3)
        for x1, y1, x2, y2 in part.boxes.astype(int):
            shown = part.pixels[y1:y2, x1:x2]
            assert any(np.array_equal(shown, record.pixels[b[1] : b[3], b[0] : b[2]]) for b in boxes)
    assert cut_out([record], None) == [record] and len({p.id for p in parts}) == 3
    nearly = cut_out([replace(record, boxes=record.boxes[2:3] + 1, names=("thing",), difficult=np.zeros(1, bool))], 200)
    assert np.array_equal(nearly[0].pixels, parts[1].pixels)


def test_a_tile_is_an_image_of_its_own() -> None:
    part = tile_of(image(500, 400, [(0, 0, 9, 9)]), (100, 50, 300, 250))
    assert part.names == () and part.boxes.shape == (0, 4) and not part.path.exists() and part.width == 200


# --- through the detector --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ground():
    """A large soft image with seven small discs, and their boxes."""
    generator = np.random.default_rng(3)
    coarse = generator.integers(90, 160, (8, 8, 3), np.uint8)
    picture = Image.fromarray(coarse).resize((700, 560), Image.Resampling.BICUBIC)
    boxes = [
        (x, y, x + 18, y + 18) for x, y in [(40, 40), (220, 60), (480, 140), (630, 440), (340, 300), (110, 420), (390, 520)]
    ]
    for box in boxes:
        ImageDraw.Draw(picture).ellipse(box, fill=(230, 40, 30), outline=(20, 20, 20), width=2)
    return np.asarray(picture), boxes


def hits(detections, boxes, least: float = 0.5) -> int:
    from repmet.detection.metrics.iou import pairwise_iou

    return int((pairwise_iou(np.array(boxes, np.float32), detections.boxes) > least).any(1).sum()) if len(detections) else 0


def test_small_objects_are_found_by_tiles_alike_with_torch_and_without(exported_photos, ground, tmp_path) -> None:
    pytest.importorskip("onnxruntime")
    from repmet.detection.few_shot_detector import FewShotDetector
    from repmet.runtime import FewShotDetector as Exported

    pixels, boxes = ground
    marks = {"disc": [(pixels, boxes[0]), (pixels, boxes[1])]}
    torchs = FewShotDetector(tile=300).learn(marks)
    ours = Exported(exported_photos, tile=300, runtime="onnxruntime", threads=1).learn(marks)
    whole = Exported(exported_photos, runtime="onnxruntime", threads=1).learn(marks)
    first, second, without = (d.detect(pixels, min_score=0.0) for d in (torchs, ours, whole))
    assert torchs.learnt.tile == 300 and whole._taught.known.tile is None
    best = slice(0, 7)
    np.testing.assert_allclose(second[best].boxes, first[best].boxes, atol=0.05)
    np.testing.assert_allclose(second[best].scores, first[best].scores, atol=1e-3)
    assert hits(first[best], boxes) > hits(without[best], boxes) and hits(first[best], boxes) >= 6
    ours.accept(pixels, boxes[2], "disc").reject(pixels, (300, 100, 330, 130), "disc").undo()
    ours.save(tmp_path / "classes.pth")
    again = torchs.load(tmp_path / "classes.pth")  # tiles stay with the classes
    assert again.learnt.tile == 300 and hits(again.detect(pixels, min_score=0.0)[best], boxes) >= 6
    torchs.learn(marks).accept(pixels, boxes[3], "disc")
    torchs.add("other", [(pixels, boxes[4])])
    assert torchs.learnt.tile == 300 and torchs.classes == ("disc", "other")


def test_the_command_refuses_tiles_that_it_cannot_make(capsys, tmp_path) -> None:
    photo = tmp_path / "a.png"
    Image.new("RGB", (64, 64)).save(photo)

    from repmet.detection.detect import main

    for words, said in (
        (["--tile", "auto"], "--tile is for classes that are shown"),
        (["--tile", "tiny", "--support", "x"], "tile is auto, off or a side"),
        (["--tile", "200", "--support", "x", "--finetune"], "--tile does not go with --finetune"),
    ):
        assert main(["--images", str(photo), *words]) == 2 and said in capsys.readouterr().err
