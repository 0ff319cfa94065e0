"""Recall of class-agnostic boxes against pycocotools' AR and counts by hand."""

import contextlib
import io

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from repmet.detection.metrics.proposal_recall import proposal_recall


def random_images(seed: int, images: int = 6) -> tuple[list, list, list]:
    g = np.random.default_rng(seed)
    boxes, scores, objects = [], [], []
    for _ in range(images):
        # objects far apart, so that a box reaches one of them only, as COCO's matching takes it
        corner = np.array([[0, 0], [300, 0], [0, 300]], float)[: g.integers(1, 4)]
        truth = np.concatenate([corner, corner + g.choice([20, 60, 150], (len(corner), 1)) * [1.0, 1.1]], 1)
        near = np.repeat(truth, 4, 0) + g.normal(0, 6, (4 * len(truth), 4))
        far = g.uniform(450, 500, (5, 4))
        far[:, 2:] = far[:, :2] + 30
        proposals = np.concatenate([near, far])
        boxes.append(proposals)
        scores.append(g.permutation(len(proposals)) / len(proposals))
        objects.append(truth)
    return boxes, scores, objects


@pytest.mark.parametrize("n", [5, 100])
def test_it_is_cocos_average_recall(n) -> None:
    boxes, scores, objects = random_images(0)
    coco = COCO()
    xywh = [np.concatenate([b[:, :2], b[:, 2:] - b[:, :2]], 1) for b in objects]
    coco.dataset = {
        "images": [{"id": i} for i in range(len(boxes))],
        "categories": [{"id": 1}],
        "annotations": [
            {"id": 100 * i + k + 1, "image_id": i, "category_id": 1, "bbox": list(b), "area": b[2] * b[3], "iscrowd": 0}
            for i, each in enumerate(xywh)
            for k, b in enumerate(each)
        ],
    }
    rows = [
        [i, *b[:2], *(b[2:] - b[:2]), s, 1] for i, each in enumerate(boxes) for b, s in zip(each, scores[i], strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(np.array(rows)), "bbox")
        evaluation.params.maxDets, evaluation.params.useCats = [n], 0
        evaluation.evaluate()
        evaluation.accumulate()
    recall = evaluation.eval["recall"][:, 0, :, 0]  # (thresholds, areas)
    ours = proposal_recall(boxes, scores, objects, n)
    assert ours[f"AR@{n}"] == pytest.approx(recall[:, 0].mean())
    assert ours[f"AR50@{n}"] == pytest.approx(recall[0, 0])
    for name, column in zip(("small", "medium", "large"), (1, 2, 3), strict=True):
        assert ours[f"AR@{n} {name}"] == pytest.approx(recall[:, column].mean())


def test_an_image_without_boxes_reaches_nothing_and_no_size_is_none() -> None:
    objects = [np.array([[0, 0, 10, 10.0]]), np.array([[0, 0, 10, 10.0]])]
    figures = proposal_recall([np.empty((0, 4)), objects[1]], [np.empty(0), np.ones(1)], objects)
    assert figures["AR50@100"] == 0.5 and figures["AR@100 small"] == 0.5
    assert figures["AR@100 large"] is None
    with pytest.raises(ValueError, match="no object"):
        proposal_recall([np.empty((0, 4))], [np.empty(0)], [np.empty((0, 4))])
