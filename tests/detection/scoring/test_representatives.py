"""What stands for a support box, an episode's representatives, and an episode put together; by naive loops."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from episode_world import crowded, unit
from episode_world import iou as overlap

from repmet.data.sources.voc import ImageRecord
from repmet.detection.embedding.embedded_image import EmbeddedImage
from repmet.detection.episodes.episode import Episode
from repmet.detection.scoring.methods import Method, NearestRepresentative
from repmet.detection.scoring.representatives import SupportSet, episode_representatives, support_embeddings
from repmet.detection.scoring.rule import FewShotRule

SPACE = "repmet"
BOX = (10.0, 10.0, 30.0, 30.0)


def image(proposals, annotated=1, e=4, space=SPACE):
    proposals = torch.tensor(proposals, dtype=torch.float32).reshape(-1, 4)
    return EmbeddedImage(
        boxes=proposals + 1,
        proposals=proposals,
        objectness=torch.ones(len(proposals)),
        embeddings={space: unit(len(proposals), e)},
        annotated={space: unit(annotated, e)},
    )


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
    embedded = image(PROPOSALS, annotated=3)
    got = support_embeddings(embedded, 1, BOX, FewShotRule(), SPACE)
    best = max(range(6), key=lambda i: (round(overlap(BOX, PROPOSALS[i]), 6), -i))
    assert best == 2 and torch.equal(got, embedded.embeddings[SPACE][[2]])


@pytest.mark.parametrize(("rois", "expected"), [(1, [2]), (2, [2, 4]), (3, [2, 4, 0]), (4, [2, 4, 0, 5]), (9, [2, 4, 0, 5])])
def test_several_proposals_the_best_first(rois, expected):
    embedded = image(PROPOSALS)
    got = support_embeddings(embedded, 0, BOX, FewShotRule(support_rois=rois), SPACE)
    assert torch.equal(got, embedded.embeddings[SPACE][expected])


def test_the_box_itself_where_no_overlap_is_asked_for():
    embedded = image(PROPOSALS, annotated=3)
    got = support_embeddings(embedded, 1, BOX, FewShotRule(support_iou=None), SPACE)
    assert torch.equal(got, embedded.annotated[SPACE][[1]])


@pytest.mark.parametrize(
    ("threshold", "expected"), [(0.94, [2, 4]), (0.9, [2, 4]), (0.72, [2, 4, 0]), (0.1, [2, 4, 0, 5, 3])]
)
def test_the_overlap_that_is_asked_for(threshold, expected):
    embedded = image(PROPOSALS)
    got = support_embeddings(embedded, 0, BOX, FewShotRule(support_rois=9, support_iou=threshold), SPACE)
    assert torch.equal(got, embedded.embeddings[SPACE][expected])


@pytest.mark.parametrize("proposals", [[], [(50, 50, 80, 80)], [(10, 10, 30, 45)]], ids=["none", "elsewhere", "too-little"])
def test_without_a_proposal_the_box_stands_for_itself(proposals):
    embedded = image(proposals, annotated=3)
    got = support_embeddings(embedded, 2, BOX, FewShotRule(support_rois=3), SPACE)
    assert torch.equal(got, embedded.annotated[SPACE][[2]])


def test_an_overlap_of_exactly_the_threshold_is_enough():
    embedded = image([(10, 10, 30, 50)])  # IoU 1/2, exact in binary
    assert torch.equal(support_embeddings(embedded, 0, BOX, FewShotRule(support_iou=0.5), SPACE), embedded.embeddings[SPACE])


# --- representatives -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shot", [1, 3])
def test_few_supports_are_the_representatives(shot):
    supports = [[unit(1, 6) for _ in range(shot)], [unit(2, 6) for _ in range(shot)]]
    points = episode_representatives(supports, FewShotRule().modes_for(shot))
    assert points.shape == (2, 2 * shot, 6)
    torch.testing.assert_close(points[0], torch.cat([*supports[0], supports[0][0].expand(shot, 6)]))
    torch.testing.assert_close(points[1], torch.cat(supports[1]))


@pytest.mark.parametrize(("shot", "max_shots"), [(1, 5), (2, 5), (3, 6), (10, 20)])
def test_kmeans_begins_beyond_five_and_twice_the_shots(shot, max_shots):
    exact = [[unit(max_shots, 6)], [unit(1, 6)]]
    modes = FewShotRule().modes_for(shot)
    points = episode_representatives(exact, modes)
    torch.testing.assert_close(points[0], exact[0][0])
    points = episode_representatives([[unit(max_shots, 6), unit(7, 6)], [unit(1, 6)]], modes)
    assert points.shape == (2, max_shots, 6)
    torch.testing.assert_close(points.norm(dim=-1), torch.ones(2, max_shots))  # means of unit vectors are put back


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
    slots = [embedded[name] for name in ("q2", "s1", "q1", "q2")]  # in the order of the episode's classes
    assert [image for _, image in episode.slots] == ["q2", "s1", "q1", "q2"]
    results = Method("repmet", rule).detect(SupportSet.of(episode, shot, support, embedded), slots)
    s1, s2, s3 = (embedded[name] for name in support)
    supports = [  # box 1 has no proposal near it, box 0 has proposal 2
        [s3.annotated[SPACE][[1]], s3.embeddings[SPACE][[2]]][:shot],
        [s1.embeddings[SPACE][[2]], s2.annotated[SPACE][[1]]][:shot],
    ]
    points = episode_representatives(supports, FewShotRule().modes_for(shot))
    expected = NearestRepresentative(rule=rule, representatives=points).detect(slots)
    assert len(results) == 4
    for got, want in zip(results, expected, strict=True):
        assert len(got) == len(want) > 0 and got.labels.tolist() == want.labels.tolist()
        np.testing.assert_allclose(got.scores, want.scores, rtol=1e-5)
        np.testing.assert_array_equal(got.boxes, want.boxes)
    assert results[0] == results[3]  # one image, listed twice
