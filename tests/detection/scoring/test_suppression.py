"""From scores to detections: by a naive non-maximum suppression, one image or several at a time."""

import numpy as np
import pytest
import torch
from episode_world import crowded, iou, unit
from torchvision.ops import nms

from repmet.detection.embedding.embedded_image import joined
from repmet.detection.scoring.class_scores import class_scores
from repmet.detection.scoring.detections import Detections
from repmet.detection.scoring.methods import NearestRepresentative
from repmet.detection.scoring.rule import FewShotRule
from repmet.detection.scoring.suppression import after_nms

SPACE = "repmet"


def rows(detections: Detections) -> list:
    return list(zip(detections.labels.tolist(), detections.scores.tolist(), detections.boxes.tolist(), strict=True))


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.7, 1.0])
def test_detections_are_those_of_a_naive_nms_per_class(threshold):
    images, points = [crowded(30, 0), crowded(1, 1), crowded(0, 2), crowded(17, 3)], unit(3, 2, 6)
    rule = FewShotRule(nms=threshold)
    results = NearestRepresentative(rule=rule, representatives=points).detect(images)
    assert len(results) == 4
    dropped = 0
    for image, got in zip(images, results, strict=True):
        scores = class_scores(image.embeddings[SPACE], points, rule)
        expected = []
        for c in range(3):
            kept = []
            for i in scores[:, c].argsort(descending=True).tolist():  # greedy, with no floor and no cap
                if all(iou(image.boxes[i].tolist(), image.boxes[j].tolist()) <= threshold for j in kept):
                    kept.append(i)
            assert kept == nms(image.boxes, scores[:, c], threshold).tolist()
            expected += [[c, scores[i, c].item(), *image.boxes[i].tolist()] for i in kept]
        expected = np.array(expected).reshape(-1, 6)
        assert got.labels.tolist() == expected[:, 0].tolist()
        np.testing.assert_allclose(got.scores, expected[:, 1], rtol=1e-4, atol=1e-7)
        np.testing.assert_allclose(got.boxes, expected[:, 2:], rtol=1e-4, atol=1e-7)
        dropped += 3 * len(image.boxes) - len(got)
    assert (dropped == 0) == (threshold == 1.0)


def test_several_images_at_once_are_each_on_its_own_with_the_proposals_of_its_rows():
    images = [crowded(count, seed) for seed, count in enumerate((12, 0, 30, 5))]
    points, rule = unit(3, 2, 6), FewShotRule(objectness=True)
    scores = [class_scores(image.embeddings[SPACE], points, rule) for image in images]
    together = after_nms(images, torch.cat(scores), rule)
    for image, its_scores, (got, proposals) in zip(images, scores, together, strict=True):
        ((alone, its),) = after_nms([image], its_scores, rule)
        assert got == alone and torch.equal(proposals, its)
        np.testing.assert_array_equal(image.boxes[proposals], got.boxes)
    whole = joined(images)
    torch.testing.assert_close(whole.boxes, torch.cat([image.boxes for image in images]))
    torch.testing.assert_close(class_scores(whole.embeddings[SPACE], points, rule), torch.cat(scores))


def test_the_space_says_whose_embeddings():
    image, points = crowded(30, 0), unit(3, 1, 6)
    (detections,) = NearestRepresentative(rule=FewShotRule(nms=1.0), representatives=points, space="other").detect([image])
    of_class = detections.scores[detections.labels == 1]
    assert len(detections) == 90 and len(np.unique(of_class.round(6))) == 1  # its embeddings are equal


def test_objectness_weighs_the_scores_of_a_box_in_all_classes_alike():
    image, points = crowded(30, 0), unit(3, 2, 6)
    (plain,) = NearestRepresentative(rule=FewShotRule(nms=1.0), representatives=points).detect([image])
    (weighed,) = NearestRepresentative(rule=FewShotRule(nms=1.0, objectness=True), representatives=points).detect([image])
    by_box = {tuple(box): o for box, o in zip(image.boxes.tolist(), image.objectness.tolist(), strict=True)}
    wanted = {(c, *box): score * by_box[tuple(box)] for c, score, box in rows(plain)}
    assert len(weighed) == 90
    for c, score, box in rows(weighed):
        assert score == pytest.approx(wanted[(c, *box)], rel=1e-5)


def test_no_boxes_at_all():
    (detections,) = NearestRepresentative(rule=FewShotRule(), representatives=unit(2, 1, 6)).detect([crowded(0, 0)])
    assert len(detections) == 0 and detections.boxes.shape == (0, 4)
