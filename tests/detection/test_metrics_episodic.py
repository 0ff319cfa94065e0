"""Episodic figures against the published vectors and against plain loops."""

import json
import subprocess
import sys

import naive_metrics as naive
import numpy as np
import pytest

from repmet.detection.metrics import EpisodicMetric, bootstrap_interval, episodic_metrics

TRUTH = np.array([[0, 1, 1, 10, 10, 49, 49], [0, 1, 2, 100, 100, 139, 139], [0, 2, 1, 0, 0, 29, 29]], dtype=float)
FOUND = np.array(
    [
        [0, 1, 1, 0.9, 10, 10, 49, 49],
        [0, 1, 1, 0.8, 12, 12, 51, 51],
        [0, 1, 1, 0.3, 200, 200, 220, 220],
        [0, 1, 2, 0.7, 100, 100, 139, 139],
        [0, 1, 2, 0.6, 10, 10, 49, 49],
        [0, 1, 2, 0.55, 14, 10, 53, 49],
        [0, 2, 1, 0.85, 60, 60, 89, 89],
        [0, 2, 1, 0.4, 0, 0, 29, 29],
        [0, 2, 2, 0.2, 0, 0, 29, 29],
    ]
)


def random_case(seed: int, *, episodes: int = 4, difficult: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Crowded little images: jittered copies of boxes, wrong labels, stray boxes, equal scores and zero scores."""
    rng = np.random.default_rng(seed)
    truth, detections = [], []
    for episode in range(episodes):
        classes = rng.choice(7, size=3, replace=False)
        for image in range(3):
            for _ in range(rng.integers(1, 5)):
                x, y, w, h = *rng.integers(0, 40, 2), *rng.integers(5, 25, 2)
                hard = difficult and rng.random() < 0.2
                truth.append([episode, image, rng.choice(classes), x, y, x + w, y + h, hard])
                for _ in range(rng.integers(0, 5)):
                    box = np.array([x, y, x + w, y + h]) + rng.integers(-4, 5, 4)
                    label = rng.choice(classes) if rng.random() < 0.4 else truth[-1][2]
                    detections.append([episode, image, label, rng.integers(0, 17) / 16, *box])
            for _ in range(rng.integers(0, 6)):
                x, y = rng.integers(0, 60, 2)
                detections.append([episode, image, rng.choice(classes), rng.random(dtype=np.float32), x, y, x + 9, y + 9])
    return np.array(detections, dtype=float).reshape(-1, 8), np.array(truth, dtype=float)


def assert_same(ours: dict, oracle: dict) -> None:
    assert ours["counts"] == oracle["counts"]
    for name in ("repmet_pooled", "pooled_ap", "class_map", "episode_map", "recall"):
        assert ours[name] == pytest.approx(oracle[name], abs=1e-12), name


def test_published_vector():
    figures = episodic_metrics(FOUND, TRUTH)
    assert figures["repmet_pooled"] == pytest.approx(0.755556, abs=1e-6)
    assert figures["pooled_ap"] == pytest.approx(0.642857, abs=1e-6)
    assert figures["class_map"] == pytest.approx((0.75 + 1.0) / 2)
    assert figures["counts"] == {"n_detections": 9, "n_ground_truth": 3, "tp": 3, "fp_wrong": 2, "fp_background": 2}


@pytest.mark.parametrize(("label", "expected"), [(1, 0.75), (2, 1.0)])
def test_published_vector_of_one_class(label, expected):
    metric = EpisodicMetric()
    metric.add(FOUND[FOUND[:, 2] == label], TRUTH[TRUTH[:, 2] == label], slots=[[0, 1], [0, 2]])
    assert metric.compute()["pooled_ap"] == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize(("iou", "plus_one"), [(0.5, True), (0.5, False), (0.3, True)])
def test_equals_plain_loops(seed, iou, plus_one):
    detections, truth = random_case(seed)
    assert_same(
        episodic_metrics(detections, truth, iou, plus_one=plus_one), naive.episodic_metrics(detections, truth, iou, plus_one)
    )


@pytest.mark.parametrize("pairs", [1, 7])
def test_small_blocks_of_pairs_change_nothing(monkeypatch, pairs):
    detections, truth = random_case(3)
    whole = episodic_metrics(detections, truth)
    monkeypatch.setattr("detection.metrics.matching.PAIRS_AT_ONCE", pairs)
    assert episodic_metrics(detections, truth) == whole


@pytest.mark.parametrize("seed", range(5))
def test_order_of_rows_does_not_matter(seed):
    detections, truth = random_case(seed)
    rng = np.random.default_rng(seed)
    assert episodic_metrics(rng.permutation(detections), rng.permutation(truth)) == episodic_metrics(detections, truth)


def test_episode_by_episode_and_merged_equal_one_shot():
    detections, truth = random_case(5, episodes=7)
    whole = episodic_metrics(detections, truth)
    parts = [EpisodicMetric(), EpisodicMetric()]
    for episode in (6, 0, 3, 1, 5, 4, 2):
        parts[episode % 2].add(detections[detections[:, 0] == episode], truth[truth[:, 0] == episode])
        parts[episode % 2].compute()  # looking in between changes nothing
    parts[0].merge(parts[1])
    assert parts[0].compute() == whole
    with pytest.raises(ValueError, match="3 episodes are in both, the first is 1"):
        parts[0].merge(parts[1])
    with pytest.raises(ValueError, match="iou and plus_one differ"):
        parts[0].merge(EpisodicMetric(0.7))


def test_per_episode_figures_are_those_of_the_episode_alone():
    detections, truth = random_case(8, episodes=5, difficult=False)
    metric = EpisodicMetric()
    metric.add(detections, truth)
    table = metric.per_episode()
    assert table["episode"].tolist() == [0, 1, 2, 3, 4]
    for row, episode in enumerate(table["episode"]):
        alone = episodic_metrics(detections[detections[:, 0] == episode], truth[truth[:, 0] == episode])
        assert table["map"][row] == pytest.approx(alone["episode_map"])
        assert table["n_ground_truth"][row] == alone["counts"]["n_ground_truth"]
        for name in ("repmet_pooled", "pooled_ap", "recall"):
            assert table[name][row] == pytest.approx(alone[name])
    assert metric.compute()["episode_map"] == pytest.approx(table["map"].mean())


def test_equal_scores_enter_together():
    truth = np.array([[0, 0, 1, 0, 0, 9, 9]], dtype=float)
    rows = [[0, 0, 1, 0.5, 0, 0, 9, 9], [0, 0, 1, 0.5, 50, 50, 59, 59]]
    assert episodic_metrics(rows, truth)["pooled_ap"] == episodic_metrics(rows[::-1], truth)["pooled_ap"] == 0.5


@pytest.mark.parametrize("empty", [[], np.empty((0, 8)), [[0, 1, 1, 0.0, 10, 10, 49, 49]]])
def test_no_detections(empty):
    figures = episodic_metrics(empty, TRUTH)
    assert [figures[name] for name in ("repmet_pooled", "pooled_ap", "class_map", "episode_map", "recall")] == [0.0] * 5
    assert figures["counts"]["n_detections"] == 0


def test_an_episode_without_boxes_enters_no_mean_but_its_detections_count():
    metric = EpisodicMetric()
    metric.add(FOUND, TRUTH)
    before = metric.compute()
    metric.add([[1, 0, 1, 0.95, 0, 0, 9, 9]], [], slots=[[1, 0]])
    after = metric.compute()
    assert after["episode_map"] == before["episode_map"]
    assert np.isnan(metric.per_episode()["map"][1])
    assert after["repmet_pooled"] == pytest.approx((1 / 2 + 2 / 4 + 3 / 6) / 3)  # one more wrong one above all


def test_nothing_to_measure():
    with pytest.raises(ValueError, match="no box was to be found in 0 episodes"):
        episodic_metrics([], [])


@pytest.mark.parametrize(
    ("detections", "truth", "message"),
    [
        (FOUND[:, :7], TRUTH, r"detections: expected a numeric array of the columns episode.*got shape \(9, 7\)"),
        (FOUND, TRUTH[:, :6], "ground truth: expected .* difficult; got shape"),
        (FOUND, FOUND[:, [0, 1, 2, 4, 5, 6, 7, 6]], "difficult, holds 220; it is 0 or 1"),
        (FOUND, np.where(TRUTH == 49, np.nan, TRUTH), "ground truth of episode 0: row 0 holds a value that is not finite"),
        (np.where(FOUND == 0.3, np.nan, FOUND), TRUTH, "detections of episode 0: row 2 holds a value that is not finite"),
        (np.where(FOUND == 0.3, -1, FOUND), TRUTH, "score -1.0 in row 2 is negative"),
        (FOUND[:, [0, 3, 2, 1, 4, 5, 6, 7]], TRUTH, "image 0.9 in row 0 is no whole number"),
        (FOUND[:, [3, 1, 2, 0, 4, 5, 6, 7]], TRUTH, "episode 0.2 is no whole number"),
        (FOUND, TRUTH[:2], "a detection is in image 2, for which there is no ground truth"),
        (FOUND, TRUTH[:, [0, 1, 2, 5, 6, 3, 4]], "ends before it begins"),
        (np.where(FOUND == 0.0, np.nan, FOUND), TRUTH, "has no episode"),
    ],
)
def test_bad_rows_get_one_clear_message(detections, truth, message):
    metric = EpisodicMetric()
    with pytest.raises(ValueError, match=message):
        metric.add(detections, truth)
    assert not len(metric.per_episode()["episode"])  # nothing was half added


def test_an_episode_comes_once():
    metric = EpisodicMetric()
    metric.add(FOUND, TRUTH)
    with pytest.raises(ValueError, match="episode 0 was added before"):
        metric.add(FOUND, TRUTH)


@pytest.mark.parametrize("iou", [0, 1.5, -0.5])
def test_iou_is_a_fraction(iou):
    with pytest.raises(ValueError, match="fraction"):
        EpisodicMetric(iou)


def test_figures_and_curves_go_into_json():
    detections, truth = random_case(2, episodes=9)
    metric = EpisodicMetric()
    metric.add(detections.astype(np.float32), truth.astype(np.float32))
    assert json.loads(json.dumps(metric.compute(), allow_nan=False)) == metric.compute()
    curves = metric.curves(points=10)
    for curve in curves.values():
        assert len(curve["recall"]) == len(curve["precision"]) == len(curve["score"]) <= 10
        assert curve["recall"] == sorted(curve["recall"]) and curve["score"] == sorted(curve["score"], reverse=True)
    assert curves["repmet_pooled"]["recall"][-1] == pytest.approx(metric.compute()["recall"])


def test_interval_covers_the_mean_and_shrinks():
    rng = np.random.default_rng(0)
    narrow, wide = (bootstrap_interval(rng.normal(0.5, 0.1, n)) for n in (900, 100))
    expected = 2 * 1.96 * 0.1 / 900**0.5
    assert narrow[0] < 0.5 < narrow[1] and narrow[1] - narrow[0] == pytest.approx(expected, rel=0.15)
    assert wide[1] - wide[0] == pytest.approx(3 * expected, rel=0.3)
    with pytest.raises(ValueError, match="finite figure"):
        bootstrap_interval([])


def test_needs_no_detector():
    code = "import sys, detection.metrics; print(sorted({'torch', 'mmcv', 'mmdet', 'mmengine'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_more_episodes_than_groups_in_the_reverse_order_are_the_same_to_the_last_bit():
    detections, truth = random_case(3, episodes=53)
    whole = episodic_metrics(detections, truth)
    metric = EpisodicMetric()
    for episode in reversed(range(53)):
        metric.add(detections[detections[:, 0] == episode], truth[truth[:, 0] == episode])
    assert metric.compute() == whole


def test_what_was_measured_by_other_widths_is_not_merged():
    with pytest.raises(ValueError, match=r"iou and plus_one differ: 0\.5, True and 0\.5, False"):
        EpisodicMetric().merge(EpisodicMetric(plus_one=False))


def test_intervals_lie_around_their_figures_and_within_what_can_be():
    figures = episodic_metrics(*random_case(5, episodes=7))
    for name in ("repmet_pooled", "episode_map"):
        low, high = figures[f"{name}_ci95"]
        assert 0 <= low < figures[name] < high <= 1


@pytest.mark.parametrize("boxes", [1, 2, 600])
def test_a_curve_goes_from_the_best_score_to_the_worst(boxes):
    """Thinned to 500 points, unless told otherwise."""
    x, y = np.arange(boxes) % 30 * 20.0, np.arange(boxes) // 30 * 20.0
    truth = np.stack([0 * x, 0 * x, 0 * x + 1, x, y, x + 9, y + 9], 1)
    scores = (1 + np.arange(boxes)) / 1024
    metric = EpisodicMetric()
    metric.add(np.insert(truth, 3, scores, axis=1), truth)
    for curve in metric.curves().values():
        assert len(curve["score"]) == min(boxes, 500)
        assert (curve["score"][0], curve["score"][-1]) == (boxes / 1024, 1 / 1024)
        assert curve["recall"][0] == 1 / boxes and curve["recall"][-1] == 1
