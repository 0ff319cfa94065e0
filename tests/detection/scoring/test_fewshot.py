"""An episode's arithmetic: what stands for a support box, its representatives, scores and detections; by naive loops."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torchvision.ops import nms

from repmet.data.sources.voc import ImageRecord
from repmet.detection.embedding.embedded_image import EmbeddedImage, joined
from repmet.detection.episodes.episode import Episode
from repmet.detection.scoring.fewshot import (
    FewShotRule,
    after_nms,
    class_scores,
    detect,
    episode_representatives,
    support_embeddings,
)
from repmet.detection.scoring.methods import play_episode

METHOD = "repmet"
BOX = (10.0, 10.0, 30.0, 30.0)


def unit(*shape):
    return F.normalize(torch.randn(*shape), dim=-1)


def image(proposals, annotated=1, e=4, method=METHOD):
    proposals = torch.tensor(proposals, dtype=torch.float32).reshape(-1, 4)
    return EmbeddedImage(
        boxes=proposals + 1,
        proposals=proposals,
        objectness=torch.ones(len(proposals)),
        embeddings={method: unit(len(proposals), e)},
        annotated={method: unit(annotated, e)},
    )


def iou(a, b):
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    inner = max(w, 0) * max(h, 0)
    return inner / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inner)


# --- what stands for a support box -----------------------------------------------------------------------------------------

PROPOSALS = [
    (10, 10, 30, 34),  # 0.83
    (50, 50, 80, 80),  # 0
    (10, 10, 30, 31),  # 0.95
    (10, 10, 30, 45),  # 0.57
    (10, 10, 29, 30),  # 0.95
    (10, 10, 30, 38),  # 0.71
]


def test_the_best_proposal_stands_for_a_box():
    found = image(PROPOSALS, annotated=3)
    got = support_embeddings(found, 1, BOX, FewShotRule(), METHOD)
    best = max(range(6), key=lambda i: (round(iou(BOX, PROPOSALS[i]), 6), -i))
    assert best == 2 and torch.equal(got, found.embeddings[METHOD][[2]])


@pytest.mark.parametrize(("rois", "expected"), [(1, [2]), (2, [2, 4]), (3, [2, 4, 0]), (4, [2, 4, 0, 5]), (9, [2, 4, 0, 5])])
def test_several_proposals_the_best_first(rois, expected):
    found = image(PROPOSALS)
    got = support_embeddings(found, 0, BOX, FewShotRule(support_rois=rois), METHOD)
    assert torch.equal(got, found.embeddings[METHOD][expected])


def test_the_box_itself_where_no_overlap_is_asked_for():
    found = image(PROPOSALS, annotated=3)
    got = support_embeddings(found, 1, BOX, FewShotRule(support_iou=None), METHOD)
    assert torch.equal(got, found.annotated[METHOD][[1]])


@pytest.mark.parametrize(
    ("threshold", "expected"), [(0.94, [2, 4]), (0.9, [2, 4]), (0.72, [2, 4, 0]), (0.1, [2, 4, 0, 5, 3])]
)
def test_the_overlap_that_is_asked_for(threshold, expected):
    found = image(PROPOSALS)
    got = support_embeddings(found, 0, BOX, FewShotRule(support_rois=9, support_iou=threshold), METHOD)
    assert torch.equal(got, found.embeddings[METHOD][expected])


@pytest.mark.parametrize("proposals", [[], [(50, 50, 80, 80)], [(10, 10, 30, 45)]], ids=["none", "elsewhere", "too-little"])
def test_without_a_proposal_the_box_stands_for_itself(proposals):
    found = image(proposals, annotated=3)
    got = support_embeddings(found, 2, BOX, FewShotRule(support_rois=3), METHOD)
    assert torch.equal(got, found.annotated[METHOD][[2]])


def test_an_overlap_of_exactly_the_threshold_is_enough():
    found = image([(10, 10, 30, 50)])  # IoU 1/2, exact in binary
    assert torch.equal(support_embeddings(found, 0, BOX, FewShotRule(support_iou=0.5), METHOD), found.embeddings[METHOD])


# --- representatives -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shot", [1, 3])
def test_few_supports_are_the_representatives(shot):
    supports = [[unit(1, 6) for _ in range(shot)], [unit(2, 6) for _ in range(shot)]]
    points = episode_representatives(supports, FewShotRule().modes_for(shot))
    assert points.shape == (2, 2 * shot, 6)
    torch.testing.assert_close(points[0], torch.cat([*supports[0], supports[0][0].expand(shot, 6)]))
    torch.testing.assert_close(points[1], torch.cat(supports[1]))


@pytest.mark.parametrize(("shot", "most"), [(1, 5), (2, 5), (3, 6), (10, 20)])
def test_kmeans_begins_beyond_five_and_twice_the_shots(shot, most):
    exact = [[unit(most, 6)], [unit(1, 6)]]
    modes = FewShotRule().modes_for(shot)
    points = episode_representatives(exact, modes)
    torch.testing.assert_close(points[0], exact[0][0])
    points = episode_representatives([[unit(most, 6), unit(7, 6)], [unit(1, 6)]], modes)
    assert points.shape == (2, most, 6)
    torch.testing.assert_close(points.norm(dim=-1), torch.ones(2, most))  # means of unit vectors are put back


def test_kmeans_representatives_are_directions_of_groups():
    directions = torch.eye(5)
    cloud = F.normalize(directions.repeat_interleave(4, 0) + 0.02 * torch.randn(20, 5), dim=-1)
    points = episode_representatives([[cloud[torch.randperm(20)]]], 5)[0]  # (5, 5)
    nearest = (points @ directions.T).amax(0)
    assert points.shape == (5, 5) and nearest.min() > 0.99


@pytest.mark.parametrize("shot", [1, 2, 5])
def test_one_mode_is_the_direction_of_the_mean(shot):
    supports = [[unit(1, 6) for _ in range(shot)] for _ in range(3)]
    assert FewShotRule(modes=1).modes_for(shot) == 1
    points = episode_representatives(supports, 1)
    means = torch.stack([torch.cat(boxes).mean(0) for boxes in supports])
    torch.testing.assert_close(points, (means / means.norm(dim=1, keepdim=True))[:, None])


# --- scores ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("others", [None, (4, 1), (5, 3)])
@pytest.mark.parametrize("dummies", [0, 1, 121])
@pytest.mark.parametrize(("sigma", "scale"), [(0.5, 15.0), (0.8, 4.0)])
def test_scores_equal_a_naive_loop(dummies, sigma, scale, others):
    embeddings, points = unit(7, 6), unit(3, 2, 6)
    base = None if others is None else unit(*others, 6)
    rule = FewShotRule(sigma=sigma, scale=scale, dummy_columns=dummies)
    scores = class_scores(embeddings, points, rule, base)
    assert scores.shape == (7, 3)
    for row, e in zip(scores.tolist(), embeddings.tolist(), strict=True):
        s = []
        for modes in points.tolist() + ([] if base is None else base.tolist()):
            d2 = min(sum((a - b) ** 2 for a, b in zip(e, r, strict=True)) for r in modes)
            s.append(math.exp(-d2 / (2 * sigma**2)))
        columns = [*s, 1 - max(s), *[math.exp(-2 / (2 * sigma**2))] * dummies]
        total = sum(math.exp(scale * v) for v in columns)
        assert row == pytest.approx([math.exp(scale * v) / total for v in s[:3]], rel=1e-4)


def test_a_perfect_match_is_nearly_certain_and_a_stranger_is_background():
    points = torch.eye(6)[:3, None]
    scores = class_scores(torch.eye(6), points, FewShotRule())
    assert scores[:3].diagonal().min() > 0.9999 and scores[3:].max() < 1e-4
    weaker = class_scores(torch.eye(6), points, FewShotRule(dummy_columns=121))
    assert (weaker < scores).all()


# --- detections ------------------------------------------------------------------------------------------------------------


def crowded(count, seed):
    g = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=g) * 40
    boxes = torch.cat([corner, corner + 20 + torch.rand(count, 2, generator=g) * 20], 1)
    return EmbeddedImage(
        boxes=boxes,
        proposals=torch.zeros(count, 4),
        objectness=torch.rand(count, generator=g),
        embeddings={METHOD: F.normalize(torch.randn(count, 6, generator=g), dim=-1), "other": torch.ones(count, 6) / 6**0.5},
        annotated={},
    )


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.7, 1.0])
def test_detections_are_those_of_a_naive_nms_per_class(threshold):
    images, points = [crowded(30, 0), crowded(1, 1), crowded(0, 2), crowded(17, 3)], unit(3, 2, 6)
    rule = FewShotRule(nms=threshold)
    found = detect(images, points, rule, METHOD)
    assert len(found) == 4
    dropped = 0
    for one, rows in zip(images, found, strict=True):
        assert rows.shape[1] == 6
        scores = class_scores(one.embeddings[METHOD], points, rule)
        expected = []
        for c in range(3):
            kept = []
            for i in scores[:, c].argsort(descending=True).tolist():  # greedy, with no floor and no cap
                if all(iou(one.boxes[i].tolist(), one.boxes[j].tolist()) <= threshold for j in kept):
                    kept.append(i)
            assert kept == nms(one.boxes, scores[:, c], threshold).tolist()
            expected += [[c, scores[i, c].item(), *one.boxes[i].tolist()] for i in kept]
        np.testing.assert_allclose(rows, np.array(expected).reshape(-1, 6), rtol=1e-4, atol=1e-7)
        dropped += 3 * len(one.boxes) - len(rows)
    assert (dropped == 0) == (threshold == 1.0)


def test_several_images_at_once_are_each_on_its_own_with_the_proposals_of_its_rows():
    images = [crowded(count, seed) for seed, count in enumerate((12, 0, 30, 5))]
    points, rule = unit(3, 2, 6), FewShotRule(objectness=True)
    scores = [class_scores(one.embeddings[METHOD], points, rule) for one in images]
    together = after_nms(images, torch.cat(scores), rule)
    for one, own, (rows, proposals) in zip(images, scores, together, strict=True):
        ((alone, its),) = after_nms([one], own, rule)
        assert torch.equal(rows, alone) and torch.equal(proposals, its)
        assert torch.equal(one.boxes[proposals], rows[:, 2:])
    whole = joined(images)
    torch.testing.assert_close(whole.boxes, torch.cat([one.boxes for one in images]))
    torch.testing.assert_close(class_scores(whole.embeddings[METHOD], points, rule), torch.cat(scores))


def test_the_method_says_whose_embeddings():
    one, points = crowded(30, 0), unit(3, 1, 6)
    (found,) = detect([one], points, FewShotRule(nms=1.0), "other")
    assert len(np.unique(found[found[:, 0] == 1, 1].round(6))) == 1  # all its embeddings are equal


def test_objectness_weighs_the_scores_of_a_box_in_all_classes_alike():
    one, points = crowded(30, 0), unit(3, 2, 6)
    (plain,) = detect([one], points, FewShotRule(nms=1.0), METHOD)
    (weighed,) = detect([one], points, FewShotRule(nms=1.0, objectness=True), METHOD)
    by_box = {tuple(box): o for box, o in zip(one.boxes.tolist(), one.objectness.tolist(), strict=True)}
    wanted = {(c, *box): score * by_box[tuple(box)] for c, score, *box in plain.tolist()}
    assert len(weighed) == 90
    for c, score, *box in weighed.tolist():
        assert score == pytest.approx(wanted[(c, *box)], rel=1e-5)


def test_no_boxes_at_all():
    (found,) = detect([crowded(0, 0)], unit(2, 1, 6), FewShotRule(), METHOD)
    assert found.shape == (0, 6)


# --- an episode ------------------------------------------------------------------------------------------------------------


def record(name, boxes):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    return ImageRecord(name, None, 100, 100, ("any",) * len(boxes), boxes, np.zeros(len(boxes), bool))


@pytest.mark.parametrize("shot", [1, 2])
def test_an_episode_is_its_parts_put_together(shot):
    support = {name: record(name, [BOX, (40, 40, 70, 70)]) for name in ("s1", "s2", "s3")}
    embedded = {name: image(PROPOSALS, annotated=2, e=6) for name in support}
    embedded |= {name: crowded(9, seed) for seed, name in enumerate(("q1", "q2"))}
    episode = Episode(
        classes=("zebra", "ant"),
        support={"ant": (("s1", 0), ("s2", 1)), "zebra": (("s3", 1), ("s3", 0))},
        query={"ant": ("q1", "q2"), "zebra": ("q2", "s1")},
    )
    rule = FewShotRule(nms=0.5)
    found = play_episode(episode, shot, embedded, support, rule, METHOD)
    s1, s2, s3 = (embedded[name] for name in support)
    supports = [  # box 1 has no proposal near it, box 0 has proposal 2
        [s3.annotated[METHOD][[1]], s3.embeddings[METHOD][[2]]][:shot],
        [s1.embeddings[METHOD][[2]], s2.annotated[METHOD][[1]]][:shot],
    ]
    points = episode_representatives(supports, FewShotRule().modes_for(shot))
    slots = [embedded[name] for name in ("q2", "s1", "q1", "q2")]  # in the order of the episode's classes
    expected = detect(slots, points, rule, METHOD)
    assert len(found) == 4
    for got, want in zip(found, expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5)
    assert found[0].tolist() == found[3].tolist()  # one image, listed twice


def test_the_published_rule_is_the_default():
    rule = FewShotRule()
    assert (rule.sigma, rule.scale, rule.support_iou, rule.support_rois, rule.nms) == (0.5, 15.0, 0.7, 1, 0.3)
    assert rule.dummy_columns == 0 and rule.modes is None and not rule.objectness
