"""PasteObjects: where pasted objects land, what they look like, and that nothing is kept between images."""

import cv2
import numpy as np
import pytest

from repmet.detection.modules.paste_objects import PasteObjects

from mmdet.structures.bbox import HorizontalBoxes  # isort: skip

SIDE = 100
PAPER, INK = 200, 40


class OneImage:
    """A data set of one image: a square of ink (20, 30, 40, 50) on paper, and an ignored object."""

    def __init__(self, path):
        pixels = np.full((SIDE, SIDE, 3), PAPER, np.uint8)
        pixels[30:50, 20:40] = INK
        cv2.imwrite(str(path), pixels)
        self.info = {
            "img_path": str(path),
            "instances": [
                {"bbox": [20, 30, 40, 50], "bbox_label": 3, "ignore_flag": 0},
                {"bbox": [60, 60, 90, 90], "bbox_label": 5, "ignore_flag": 1},
            ],
        }

    def __len__(self):
        return 1

    def get_data_info(self, index):
        return self.info


@pytest.fixture
def results(tmp_path):
    boxes = np.array([[0, 0, 30, 30], [50, 50, 70, 70]], np.float32)
    return {
        "img": np.full((SIDE, SIDE, 3), 120, np.uint8),
        "gt_bboxes": HorizontalBoxes(boxes),
        "gt_bboxes_labels": np.array([0, 1]),
        "gt_ignore_flags": np.array([False, True]),
        "dataset": OneImage(tmp_path / "one.png"),
    }


def paste(results, seed=0, **arguments):
    np.random.seed(seed)
    inputs = results | {"img": results["img"].copy()}
    return PasteObjects(**arguments).transform(inputs)


def overlap(a, b):
    """Of the smaller of two boxes, pixel by pixel."""
    masks = np.zeros((2, SIDE, SIDE), bool)
    for mask, (x1, y1, x2, y2) in zip(masks, (a, b), strict=True):
        mask[round(y1) : round(y2), round(x1) : round(x2)] = True
    return (masks[0] & masks[1]).sum() / max(min(masks[0].sum(), masks[1].sum()), 1)


@pytest.mark.parametrize("ink", [True, False])
def test_labels_come_with_their_boxes_and_ignored_objects_stay_away(results, ink):
    pasted = paste(results, images=3, scale=(1.0, 1.0), overlap=0.0, ink=ink)
    labels = pasted["gt_bboxes_labels"].tolist()
    assert labels[:2] == [0, 1] and len(labels) >= 3 and set(labels[2:]) == {3}
    assert pasted["gt_ignore_flags"].tolist() == [False, True] + [False] * (len(labels) - 2)
    boxes = pasted["gt_bboxes"].numpy()
    assert len(boxes) == len(labels)
    np.testing.assert_array_equal(boxes[:2], results["gt_bboxes"].numpy())
    for box in boxes[2:]:
        np.testing.assert_allclose(box[2:] - box[:2], [20, 20], atol=1e-4)
        assert box.min() >= 0 and box.max() <= SIDE
        middle = pasted["img"][round(box[1]) + 10, round(box[0]) + 10]
        assert middle == pytest.approx(np.full(3, 120 if ink else INK), abs=1)  # a box of nothing but ink has no paper


@pytest.mark.parametrize("right", [65, 47])  # of the box is more than half paper, or a quarter
def test_ink_darkens_and_paper_does_not(results, right):
    results["dataset"].info["instances"][0]["bbox"] = [20, 30, right, 50]  # ink on the left, paper on the right
    pasted = paste(results, scale=(1.0, 1.0), overlap=0.0, ink=True)
    x1, y1, x2, y2 = pasted["gt_bboxes"].numpy()[-1].round().astype(int)
    window = pasted["img"][y1:y2, x1:x2]
    np.testing.assert_allclose(window[:, :20], 120 * INK / PAPER, atol=1)
    np.testing.assert_array_equal(window[:, 20:], 120)


def test_coloured_ink_lightens_no_colour(results, tmp_path):
    """Its red is lighter than the grey paper's, its blue darker, and its green the same."""
    pixels = np.full((SIDE, SIDE, 3), 150, np.uint8)
    pixels[40, 20:40] = (50, 150, 250)
    cv2.imwrite(str(tmp_path / "one.png"), pixels)
    pasted = paste(results, scale=(1.0, 1.0), overlap=0.0, ink=True)
    x1, y1, x2, _ = pasted["gt_bboxes"].numpy()[-1].round().astype(int)
    np.testing.assert_array_equal(pasted["img"][y1 + 10, x1:x2], np.tile([40, 120, 120], (20, 1)))


def test_an_object_fades_into_the_ground(results):
    pasted = paste(results, scale=(1.0, 1.0), overlap=0.0)
    x1, y1, x2, y2 = pasted["gt_bboxes"].numpy()[-1].round().astype(int)
    np.testing.assert_array_equal(pasted["img"][y1:y2, x1:x2], INK)
    row = pasted["img"][(y1 + y2) // 2, :, 0].astype(int)
    left = row[x1 - 5 : x1]
    assert (np.diff(left) > 0).all() and 120 < left[0] < left[-1] < PAPER  # from the ground to the crop's own paper
    assert row[x1 - 6] == 120
    evenly = [128, 144, 160, 176, 192]  # at the middles of five pixels, from 120 to 200
    assert left.tolist() == evenly == row[x2 : x2 + 5][::-1].tolist()


@pytest.mark.parametrize("seed", range(5))
def test_no_box_shares_more_than_it_may(results, seed):
    boxes = paste(results, seed, images=8, scale=(0.5, 1.5), overlap=0.1, ink=True)["gt_bboxes"].numpy()
    assert len(boxes) > 4
    worst = max(overlap(a, b) for k, a in enumerate(boxes) for b in boxes[:k])
    assert worst <= 0.1 + 0.1  # pixels are whole


def test_what_fits_nowhere_is_left_out(results):
    results["gt_bboxes"] = HorizontalBoxes(np.array([[0, 0, SIDE, SIDE], [1, 1, 2, 2]], np.float32))
    pasted = paste(results, images=4)
    np.testing.assert_array_equal(pasted["img"], results["img"])
    assert pasted["gt_bboxes_labels"].tolist() == [0, 1]
    large = paste(results, scale=(20.0, 20.0))
    assert len(large["gt_bboxes_labels"]) == 2


def test_an_object_at_the_border_is_pasted_whole(results):
    results["dataset"].info["instances"][0]["bbox"] = [-3.0, 90.2, 14.0, 104.0]  # as some annotations have it
    box = paste(results, scale=(1.0, 1.0), overlap=0.0)["gt_bboxes"].numpy()[-1]
    assert box.min() >= -3 and (box[2:] > box[:2]).all()


def test_the_seed_alone_decides(results):
    first, second = (paste(results, 3, images=2) for _ in range(2))
    np.testing.assert_array_equal(first["img"], second["img"])
    assert not np.array_equal(first["img"], paste(results, 4, images=2)["img"])


def test_an_image_that_cannot_be_read_is_named(results, tmp_path):
    (tmp_path / "one.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"one\.png: cannot be read as an image"):
        paste(results)


@pytest.mark.parametrize("wrong", [{"images": 0}, {"scale": (1.2, 0.8)}, {"scale": (0, 1)}, {"overlap": 1.5}])
def test_arguments_that_cannot_be(wrong):
    with pytest.raises(ValueError, match="PasteObjects takes"):
        PasteObjects(**wrong)


def neighbours(results, tmp_path, *boxes, ignored=1):
    """The data set's one image with other objects in blue, which nothing else there is, beside its square of ink."""
    pixels = np.full((SIDE, SIDE, 3), (0, PAPER, PAPER), np.uint8)
    pixels[30:50, 20:40] = (0, INK, INK)
    for x1, y1, x2, y2 in boxes:
        pixels[y1:y2, x1:x2] = (255, 0, 0)
    cv2.imwrite(str(tmp_path / "one.png"), pixels)
    results["img"][..., 0] = 0
    first, _ = results["dataset"].info["instances"]
    others = [{"bbox": list(b), "bbox_label": 5, "ignore_flag": ignored} for b in boxes]
    results["dataset"].info["instances"] = [first, *others]
    return results


@pytest.mark.parametrize("scale", [0.6, 1.0, 1.7])
@pytest.mark.parametrize("box", [(41, 28, 60, 52), (10, 33, 18, 45), (22, 51, 38, 70), (15, 25, 21, 31), (38, 20, 60, 33)])
def test_parts_of_neighbours_are_not_pasted(results, tmp_path, box, scale):
    """Beside the object in its margin, or over one of its corners; of a class that is ignored, as novel ones are."""
    pasted = paste(neighbours(results, tmp_path, box), images=3, scale=(scale, scale), overlap=0.15)
    assert len(pasted["gt_bboxes_labels"]) > 2, "the object itself is pasted"
    assert pasted["img"][..., 0].max() <= 1
    x1, y1, x2, y2 = pasted["gt_bboxes"].numpy()[-1].round().astype(int)
    assert (pasted["img"][y1:y2, x1:x2, 1] <= INK + 1).mean() > 0.5


def test_an_object_behind_another_is_left_out(results, tmp_path):
    pasted = paste(neighbours(results, tmp_path, (30, 30, 60, 50)), images=3, scale=(1.0, 1.0))
    assert pasted["gt_bboxes_labels"].tolist() == [0, 1]
    np.testing.assert_array_equal(pasted["img"], results["img"])


def test_a_crop_as_large_as_the_image_is_pasted_whole(results, tmp_path):
    results["dataset"].info["instances"][0]["bbox"] = [0, 0, SIDE, SIDE]
    results["dataset"].info["instances"][1]["bbox"] = [0, 0, 0, 0]
    results["gt_bboxes"] = HorizontalBoxes(np.array([[0, 0, 1, 1], [1, 1, 2, 2]], np.float32))
    pasted = paste(results, scale=(1.0, 1.0), overlap=1.0)
    assert pasted["gt_bboxes"].numpy()[-1].tolist() == [0, 0, SIDE, SIDE]
    np.testing.assert_array_equal(pasted["img"], cv2.imread(results["dataset"].info["img_path"]))
    assert len(paste(results, scale=(1.02, 1.02), overlap=1.0)["gt_bboxes_labels"]) == 2, "two pixels too large"


def test_an_object_lands_on_the_last_row_and_column_too(results):
    """Of 100 pixels, a crop of 90 has 11 places in a row: the first and the last are drawn as all others."""
    results["gt_bboxes"] = HorizontalBoxes(np.zeros((2, 4), np.float32))
    results["dataset"].info["instances"][0]["bbox"] = [5, 5, 95, 95]
    arguments = {"scale": (1.0, 1.0), "overlap": 1.0, "ink": True}
    ends = np.array([paste(results, seed, **arguments)["gt_bboxes"].numpy()[-1] for seed in range(80)])
    assert ends[:, :2].min(0).tolist() == [0, 0] and ends[:, 2:].max(0).tolist() == [SIDE, SIDE]


def test_grain_stays_where_no_ink_is(results, tmp_path):
    """Paper that is uneven by less than 15 % changes nothing below it; what is darker does."""
    grain = np.random.default_rng(0).integers(int(0.88 * PAPER), PAPER, (20, 20, 1)).repeat(3, 2)
    pixels = np.full((SIDE, SIDE, 3), PAPER, np.uint8)
    pixels[30:50, 20:40] = grain
    pixels[40, 20:40] = INK
    cv2.imwrite(str(tmp_path / "one.png"), pixels)
    pasted = paste(results, scale=(1.0, 1.0), overlap=0.0, ink=True)
    x1, y1, x2, y2 = pasted["gt_bboxes"].numpy()[-1].round().astype(int)
    window = pasted["img"][y1:y2, x1:x2]
    np.testing.assert_array_equal(np.delete(window, 10, 0), 120)
    assert (window[10] < 40).all()


@pytest.mark.parametrize("factor", [0.6, 2.0])
def test_scaling_is_by_area_downwards_and_linear_upwards(results, tmp_path, factor):
    pixels = np.random.default_rng(1).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "one.png"), pixels)
    results["gt_bboxes"] = HorizontalBoxes(np.zeros((2, 4), np.float32))
    results["dataset"].info["instances"][1]["bbox"] = [0, 0, 0, 0]
    pasted = paste(results, scale=(factor, factor), overlap=1.0)
    x1, y1, x2, y2 = pasted["gt_bboxes"].numpy()[-1].round().astype(int)
    side = round(20 * factor)
    assert (x2 - x1, y2 - y1) == (side, side)
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    margin = round(5 * factor)
    whole = cv2.resize(pixels[25:55, 15:45], (round(30 * factor),) * 2, interpolation=how)
    np.testing.assert_array_equal(pasted["img"][y1:y2, x1:x2], whole[margin : margin + side, margin : margin + side])


def test_scales_are_even_in_their_logarithm(results):
    results["gt_bboxes"] = HorizontalBoxes(np.zeros((2, 4), np.float32))
    sides = [
        np.diff(paste(results, seed, scale=(0.5, 2.0), overlap=1.0, ink=True)["gt_bboxes"].numpy()[-1][[0, 2]])[0]
        for seed in range(100)
    ]
    assert min(sides) >= 10 and max(sides) <= 40
    assert np.mean(np.log2(np.array(sides) / 20)) == pytest.approx(0, abs=0.15), "the middle is 1, not 1.25"


@pytest.mark.parametrize("ink", [True, False])
@pytest.mark.parametrize("box", [(20, 30.1, 40, 30.3), (30.1, 20, 30.3, 40), (20, 99.8, 40, 100), (99.8, 20, 100, 40)])
def test_a_box_thinner_than_a_pixel_is_a_row_of_them(results, box, ink):
    """Also in the image's last row and column, after which there is none."""
    results["dataset"].info["instances"][0]["bbox"] = list(box)
    results["dataset"].info["instances"][1]["bbox"] = [0, 0, 0, 0]
    pasted = paste(results, scale=(1.0, 1.0), overlap=0.0, ink=ink)["gt_bboxes"].numpy()[-1]
    np.testing.assert_allclose(pasted[2:] - pasted[:2], np.subtract(box[2:], box[:2]), atol=1e-4)
    assert pasted.min() >= 0 and pasted.max() <= SIDE


def test_the_darkest_paper_is_paper(results, tmp_path):
    """A shade above black, all of it: nothing there is darker than what is around it."""
    cv2.imwrite(str(tmp_path / "one.png"), np.ones((SIDE, SIDE, 3), np.uint8))
    pasted = paste(results, scale=(1.0, 1.0), overlap=0.0, ink=True)
    assert len(pasted["gt_bboxes_labels"]) == 3
    np.testing.assert_array_equal(pasted["img"], results["img"])
