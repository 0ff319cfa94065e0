"""Sheets, plots, and the choice of episodes, on drawn images."""

import numpy as np
import pytest
from PIL import Image

from repmet.detection.metrics import Outcome
from repmet.detection.pictures.drawing import COLOURS, MISSED
from repmet.detection.pictures.sheets import QueryPicture, episode_sheet, pick, precision_recall_plot
from repmet.detection.scoring.detections import Detections

NAMES = ["hook", "a class whose name is much too long for its place", "loop"]


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "grey.png"
    Image.new("RGB", (280, 200), (128, 128, 128)).save(path)
    return path


def sheet(tmp_path, image, detections, **changes):
    rows = np.array(detections, dtype=float).reshape(-1, 6)
    query = QueryPicture(
        path=image,
        boxes=np.array([[20.0, 40, 100, 120], [150, 60, 250, 160]]),
        labels=np.array([0, 1]),
        detections=Detections(rows[:, 2:], rows[:, 1], rows[:, 0]),
        listed_under=0,
        **changes,
    )
    out = tmp_path / "new" / "sheet.png"
    supports = [[(image, (10, 10, 60, 60))], [(image, (0, 0, 280, 200))] * 7, []]
    episode_sheet(out, title="an episode", class_names=NAMES, supports=supports, queries=[query] * 6)
    return np.asarray(Image.open(out))


def below_the_supports(pixels: np.ndarray, colour: tuple[int, int, int]) -> int:
    """Pixels of a colour below the legend."""
    return int((pixels[80:] == colour).all(axis=-1).sum())


BOX_OF = {
    Outcome.RIGHT: [0, 0.9, 20, 40, 100, 120],
    Outcome.WRONG_CLASS: [2, 0.9, 20, 40, 100, 120],
    Outcome.BACKGROUND: [0, 0.9, 200, 5, 270, 50],
}


@pytest.mark.parametrize("outcome", list(BOX_OF))
def test_a_detection_has_the_colour_of_what_it_is(tmp_path, image, outcome):
    pixels = sheet(tmp_path, image, [BOX_OF[outcome]])
    seen = {other for other in BOX_OF if below_the_supports(pixels, COLOURS[other])}
    assert seen == {outcome}
    assert below_the_supports(pixels, MISSED)  # the second box


def test_nothing_is_missed_where_all_is_found(tmp_path, image):
    both = [BOX_OF[Outcome.RIGHT], [1, 0.8, 150, 60, 250, 160]]
    assert not below_the_supports(sheet(tmp_path, image, both), MISSED)
    hard = sheet(tmp_path, image, both[:1], difficult=np.array([False, True]))
    assert not below_the_supports(hard, MISSED)


def test_weak_detections_are_left_out_and_find_nothing(tmp_path, image):
    pixels = sheet(tmp_path, image, [[0, 0.29, 20, 40, 100, 120]])
    assert not below_the_supports(pixels, COLOURS[Outcome.RIGHT]) and below_the_supports(pixels, MISSED)


def test_detections_outside_the_image_or_without_any(tmp_path, image):
    assert sheet(tmp_path, image, [[0, 0.9, -500, -20, 900, 900], [1, 0.9, 30, 30, 20, 20]]).shape[2] == 3
    assert below_the_supports(sheet(tmp_path, image, []), MISSED)


def test_all_queries_are_on_the_sheet(tmp_path, image):
    pixels = sheet(tmp_path, image, [])
    # six queries in rows of five: 80 % of the first row's grey area comes again once in the second
    assert below_the_supports(pixels, (128, 128, 128)) > 6 * 0.8 * 280 * 200
    assert pixels.shape[1] == 12 + 5 * 292


def test_a_sheet_of_nothing_is_refused(tmp_path, image):
    with pytest.raises(ValueError, match="0 queries, 1 lists of supports, 2 classes"):
        episode_sheet(tmp_path / "s.png", title="", class_names=["a", "b"], supports=[[]], queries=[])


def test_a_missing_image_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"gone\.png"):
        sheet(tmp_path, tmp_path / "gone.png", [])


def test_plot(tmp_path):
    curve = {"recall": [0.1, 0.5, 0.9], "precision": [1.0, 0.8, 0.3]}
    out = tmp_path / "new" / "curve.png"
    precision_recall_plot(out, {"RepMet": {**curve, "ap": 0.7}, "untrained": curve}, title="5-way 1-shot")
    pixels = np.asarray(Image.open(out).convert("RGB"))
    for colour in ((31, 119, 180), (255, 127, 14)):  # one line each, in matplotlib's first two colours
        assert (pixels == colour).all(axis=-1).sum() > 100
    with pytest.raises(ValueError, match="at least one curve"):
        precision_recall_plot(out, {}, title="")


def test_pick_the_best_the_middling_and_the_worst():
    values = np.array([0.5, np.nan, 0.9, 0.1, 0.9, 0.2])
    assert pick(values) == {"good": [4, 2], "middle": [0], "bad": [3, 5]}
    assert pick(values, each=1) == {"good": [4], "middle": [0], "bad": [3]}
    assert pick(values[:3]) == {"good": [2, 0], "middle": [], "bad": []}
    assert pick(np.array([0.3])) == {"good": [0], "middle": [], "bad": []}
    assert pick(np.array([np.nan])) == {"good": [], "middle": [], "bad": []}


@pytest.mark.parametrize("count", range(12))
def test_no_episode_is_picked_twice_and_the_middling_ones_are_about_the_median(count):
    values = np.random.default_rng(count).permutation(count) / 10
    picked = pick(values)
    numbers = [k for kind in picked.values() for k in kind]
    assert len(set(numbers)) == len(numbers) == min(count, 6)
    rank = sorted(range(count), key=values.__getitem__)
    middle = sorted(rank.index(k) for k in picked["middle"])
    if count >= 6:
        assert abs(sum(middle) / 2 - (count - 1) / 2) <= 0.5 and middle[1] == middle[0] + 1
