"""The grouped jackknife against figures computed anew without each group, and against Student's interval of a mean."""

import naive_metrics as naive
import numpy as np
import pytest
from test_metrics_episodic import random_case

from repmet.detection.metrics import EpisodicMetric, jackknife_interval
from repmet.detection.metrics.jackknife import GROUPS, in_groups, leave_one_out
from repmet.detection.metrics.scores import Pooled
from repmet.experiments.reporting.intervals import mean_interval


@pytest.mark.parametrize("seed", range(6))
def test_leaving_an_episode_out_is_measuring_the_others(seed):
    detections, truth = random_case(seed, episodes=6)
    metric = EpisodicMetric()
    metric.add(detections, truth)
    without = metric.pooled_without()
    assert without.shape == (6,)
    for episode in range(6):
        others = naive.episodic_metrics(detections[detections[:, 0] != episode], truth[truth[:, 0] != episode], 0.5, True)
        assert without[episode] == pytest.approx(others["repmet_pooled"], abs=1e-12)


def test_many_episodes_are_left_out_in_groups_of_neighbours():
    detections, truth = random_case(1, episodes=GROUPS + 3)
    metric = EpisodicMetric()
    metric.add(detections, truth)
    without = metric.pooled_without()
    assert without.shape == (GROUPS,)
    first, last = [0, 1], [GROUPS + 2]  # three groups are of two episodes
    for g, left_out in ((0, first), (GROUPS - 1, last)):
        others = EpisodicMetric()
        keep = ~np.isin(detections[:, 0], left_out)
        others.add(detections[keep], truth[~np.isin(truth[:, 0], left_out)])
        assert without[g] == pytest.approx(others.compute()["repmet_pooled"], abs=1e-12)


def test_of_a_mean_it_is_students_interval():
    values = np.random.default_rng(0).normal(0.5, 0.1, 40)
    without = (values.sum() - values) / 39
    mean, half, _ = mean_interval(values)
    assert jackknife_interval(values.mean(), without) == pytest.approx([mean - half, mean + half])


def test_it_covers_the_figure_of_more_episodes_about_as_often_as_it_says():
    """Scores of found boxes and of false ones from two normal distributions: the AP of very many is the truth."""
    rng = np.random.default_rng(3)

    def episode() -> Pooled:
        ease = rng.normal(0, 0.5)  # of all its boxes: episodes differ
        hits, false = rng.normal(1 + ease, 1, 6), rng.normal(0, 1, 12)
        return Pooled(np.sort(hits.astype(np.float32)), np.sort(false.astype(np.float32)), 8)

    def whole_and_interval(count: int) -> tuple[float, list[float]]:
        groups = in_groups([episode() for _ in range(count)])
        none = Pooled(np.empty(0, np.float32), np.empty(0, np.float32), 0)
        whole = leave_one_out([*groups, none])[-1]
        return whole, jackknife_interval(whole, leave_one_out(groups))

    truth, _ = whole_and_interval(20_000)
    covered = sum(low <= truth <= high for _, (low, high) in (whole_and_interval(100) for _ in range(200)))
    assert 0.9 * 200 <= covered <= 0.99 * 200


def test_one_episode_says_nothing_about_the_spread():
    detections, truth = random_case(2, episodes=1)
    metric = EpisodicMetric()
    metric.add(detections, truth)
    assert metric.compute()["repmet_pooled_ci95"] == [0, 1]
    metric.add([], [], slots=[[7, 0]])  # without a box: the other has them all
    assert np.isnan(metric.pooled_without()).tolist() == [True, False]
    assert metric.compute()["repmet_pooled_ci95"] == [0, 1]


def test_where_one_group_holds_all_boxes_nothing_is_known():
    boxes = Pooled(np.array([0.5], np.float32), np.array([0.7], np.float32), 2)
    none = Pooled(np.empty(0, np.float32), np.array([0.1], np.float32), 0)
    without = leave_one_out([boxes, none, none])
    assert np.isnan(without).tolist() == [True, False, False]
    assert jackknife_interval(0.25, without) == [-np.inf, np.inf] == jackknife_interval(0.25, np.array([0.25]))


def test_a_figure_of_one_group_says_nothing_of_its_error():
    assert jackknife_interval(0.5, np.array([0.5])) == [float("-inf"), float("inf")]
    low, high = jackknife_interval(0.5, np.array([0.4, 0.6]))
    assert low == pytest.approx(0.5 - 12.706 * 0.1, abs=1e-3) and high == pytest.approx(0.5 + 12.706 * 0.1, abs=1e-3)


def test_a_single_box_found_by_a_single_detection_is_all_right():
    box = [Pooled(np.array([score], np.float32), np.empty(0, np.float32), 1) for score in (0.9, 0.5)]
    assert leave_one_out(box).tolist() == [1, 1]
