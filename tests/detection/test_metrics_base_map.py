"""Base-class mAP against plain loops, mmdet's own function and cases whose figure is known."""

import naive_metrics as naive
import numpy as np
import pytest

from repmet.detection.metrics import base_metrics


def random_detector(seed: int, *, images: int = 30, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth, detections = [], []
    for image in range(images):
        for _ in range(rng.integers(1, 6)):
            x, y, w, h = *rng.uniform(0, 80, 2), *rng.uniform(8, 40, 2)
            label = rng.integers(classes)
            truth.append([image, label, x, y, x + w, y + h, rng.random() < 0.15])
            for _ in range(rng.integers(0, 3)):
                box = np.array([x, y, x + w, y + h]) + rng.normal(0, 3, 4)
                detections.append([image, label if rng.random() < 0.8 else rng.integers(classes), rng.random(), *box])
    return np.array(detections), np.array(truth)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("plus_one", [True, False])
def test_voc_equals_plain_loops(seed, plus_one):
    detections, truth = random_detector(seed)
    detections[:, 2] = detections[:, 2].astype(np.float32)
    listed, n_of = naive.greedy_list(
        [(0.0, *row) for row in detections.tolist()], [(0.0, *row) for row in truth.tolist()], 0.5, plus_one
    )
    figures = base_metrics(detections, truth, 4, plus_one=plus_one)
    for label, n in n_of.items():
        of_class = [(score, right) for c, score, right in listed if c == label]
        ours = figures["per_class"][int(label)]
        assert ours["voc"] == pytest.approx(naive.voc_ap(of_class, n), abs=1e-12)
        assert ours["voc07"] == pytest.approx(naive.voc_ap_11(of_class, n), abs=1e-12)
        assert ours["n_ground_truth"] == n
    assert figures["voc"] == pytest.approx(np.mean([row["voc"] for row in figures["per_class"].values()]))


@pytest.mark.parametrize(("mode", "name"), [("area", "voc"), ("11points", "voc07")])
def test_voc_equals_mmdet(mode, name):
    mean_ap = pytest.importorskip("mmdet.evaluation.functional.mean_ap", exc_type=ImportError)
    detections, truth = random_detector(11)
    images, classes = range(30), range(4)
    results = [
        [detections[(detections[:, 0] == i) & (detections[:, 1] == c)][:, [3, 4, 5, 6, 2]] for c in classes] for i in images
    ]
    annotations = []
    for i in images:
        rows = truth[truth[:, 0] == i]
        easy, hard = rows[rows[:, 6] == 0], rows[rows[:, 6] == 1]
        annotations.append(
            {
                "bboxes": easy[:, 2:6],
                "labels": easy[:, 1].astype(int),
                "bboxes_ignore": hard[:, 2:6],
                "labels_ignore": hard[:, 1].astype(int),
            }
        )
    expected, _ = mean_ap.eval_map(
        results, annotations, eval_mode=mode, logger="silent", use_legacy_coordinate=True, nproc=1
    )
    assert base_metrics(detections, truth, 4)[name] == pytest.approx(expected, abs=1e-6)


def test_a_perfect_detector_and_one_that_is_off_by_a_quarter():
    truth = np.array([[image, label, 10, 10, 50, 50] for image in range(3) for label in range(2)], dtype=float)
    detections = np.insert(truth, 2, 0.9, axis=1)
    assert base_metrics(detections, truth, 2)["coco"] == pytest.approx(1.0)
    detections[:, 3] += 10  # IoU 0.75 as COCO measures: right at 6 of its 10 thresholds
    assert base_metrics(detections, truth, 2)["coco"] == pytest.approx(0.6)


def test_difficult_boxes_are_ignored_by_all_three():
    truth = np.array([[0, 0, 10, 10, 50, 50, 0], [0, 0, 100, 100, 150, 150, 1]], dtype=float)
    detections = [[0, 0, 0.9, 100, 100, 150, 150], [0, 0, 0.5, 10, 10, 50, 50]]
    figures = base_metrics(detections, truth, 1)
    assert [figures[name] for name in ("voc07", "voc", "coco")] == pytest.approx([1.0, 1.0, 1.0])


def test_classes_without_boxes_enter_no_mean_and_images_without_boxes_count():
    truth = np.array([[0, 0, 10, 10, 50, 50]], dtype=float)
    detections = [[0, 0, 0.5, 10, 10, 50, 50], [7, 0, 0.9, 10, 10, 50, 50], [0, 2, 0.9, 10, 10, 50, 50]]
    figures = base_metrics(detections, truth, 3)
    assert list(figures["per_class"]) == [0]
    assert [figures[name] for name in ("voc07", "voc", "coco")] == pytest.approx([0.5, 0.5, 0.5])


def test_no_detections():
    figures = base_metrics([], np.array([[0, 1, 10, 10, 50, 50]]), 2)
    assert [figures[name] for name in ("voc07", "voc", "coco")] == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("detections", "truth", "message"),
    [
        ([[0, 5, 0.5, 1, 1, 2, 2]], [[0, 0, 1, 1, 2, 2]], "detections: classes 5 to 5, but there are 2"),
        ([], [[0, -1, 1, 1, 2, 2]], "ground truth: classes -1 to -1"),
        ([], [], "nothing to measure"),
        ([[0, 0, 0.5, 1, 1]], [[0, 0, 1, 1, 2, 2]], "detections: expected"),
    ],
)
def test_bad_input(detections, truth, message):
    with pytest.raises(ValueError, match=message):
        base_metrics(detections, truth, 2)
