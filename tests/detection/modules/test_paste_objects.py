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
    given = results | {"img": results["img"].copy()}
    return PasteObjects(**arguments).transform(given)


def overlap(a, b):
    """Of the smaller of two boxes, pixel by pixel."""
    masks = np.zeros((2, SIDE, SIDE), bool)
    for mask, (x1, y1, x2, y2) in zip(masks, (a, b), strict=True):
        mask[round(y1) : round(y2), round(x1) : round(x2)] = True
    return (masks[0] & masks[1]).sum() / max(min(masks[0].sum(), masks[1].sum()), 1)


@pytest.mark.parametrize("ink", [True, False])
def test_labels_come_with_their_boxes_and_ignored_objects_stay_away(results, ink):
    found = paste(results, images=3, scale=(1.0, 1.0), overlap=0.0, ink=ink)
    labels = found["gt_bboxes_labels"].tolist()
    assert labels[:2] == [0, 1] and len(labels) >= 3 and set(labels[2:]) == {3}
    assert found["gt_ignore_flags"].tolist() == [False, True] + [False] * (len(labels) - 2)
    boxes = found["gt_bboxes"].numpy()
    assert len(boxes) == len(labels)
    np.testing.assert_array_equal(boxes[:2], results["gt_bboxes"].numpy())
    for box in boxes[2:]:
        np.testing.assert_allclose(box[2:] - box[:2], [20, 20], atol=1e-4)
        assert box.min() >= 0 and box.max() <= SIDE
        middle = found["img"][round(box[1]) + 10, round(box[0]) + 10]
        assert middle == pytest.approx(np.full(3, 120 if ink else INK), abs=1)  # a box of nothing but ink has no paper


def test_ink_darkens_and_paper_does_not(results, tmp_path):
    results["dataset"].info["instances"][0]["bbox"] = [20, 30, 65, 50]  # ink on the left, paper on the right
    found = paste(results, scale=(1.0, 1.0), overlap=0.0, ink=True)
    x1, y1, x2, y2 = found["gt_bboxes"].numpy()[-1].round().astype(int)
    window = found["img"][y1:y2, x1:x2]
    np.testing.assert_allclose(window[:, :20], 120 * INK / PAPER, atol=1)
    np.testing.assert_array_equal(window[:, 20:], 120)


def test_an_object_fades_into_the_ground(results):
    found = paste(results, scale=(1.0, 1.0), overlap=0.0)
    x1, y1, x2, y2 = found["gt_bboxes"].numpy()[-1].round().astype(int)
    np.testing.assert_array_equal(found["img"][y1:y2, x1:x2], INK)
    row = found["img"][(y1 + y2) // 2, :, 0].astype(int)
    left = row[x1 - 5 : x1]
    assert (np.diff(left) > 0).all() and 120 < left[0] < left[-1] < PAPER  # from the ground to the crop's own paper
    assert row[x1 - 6] == 120


@pytest.mark.parametrize("seed", range(5))
def test_no_box_shares_more_than_it_may(results, seed):
    boxes = paste(results, seed, images=8, scale=(0.5, 1.5), overlap=0.1, ink=True)["gt_bboxes"].numpy()
    assert len(boxes) > 4
    worst = max(overlap(a, b) for k, a in enumerate(boxes) for b in boxes[:k])
    assert worst <= 0.1 + 0.1  # pixels are whole


def test_what_fits_nowhere_is_left_out(results):
    results["gt_bboxes"] = HorizontalBoxes(np.array([[0, 0, SIDE, SIDE], [1, 1, 2, 2]], np.float32))
    found = paste(results, images=4)
    np.testing.assert_array_equal(found["img"], results["img"])
    assert found["gt_bboxes_labels"].tolist() == [0, 1]
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
