"""Settings chosen by leaving images out: AP by hand, boxes that lie beside every mark, no choice where none is better."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from parts import parts

from repmet.detection.protocols.own_data import OwnData
from repmet.detection.scoring import tuning
from repmet.detection.scoring.calibration import HeldOutFinds
from repmet.detection.scoring.logistic import LogisticRegression
from repmet.detection.scoring.methods import Method
from repmet.detection.scoring.representatives import SupportSet
from repmet.detection.scoring.rule import FewShotRule
from repmet.detection.scoring.tuning import class_mean_ap, tuned

RULE = FewShotRule(support_iou=None, objectness=1.0)


def supports(data: OwnData, count: int = 3) -> SupportSet:
    return SupportSet(data.classes, data.marks(count, 0), data.records, data.embedded)


def beside(data: OwnData) -> OwnData:
    """Predicted boxes reach too far to the right and below, all by the same share: no find hits."""
    images = {}
    for name, image in data.embedded.items():
        side = image.boxes[:, 2:] - image.boxes[:, :2]
        images[name] = replace(image, boxes=torch.cat([image.boxes[:, :2], image.boxes[:, 2:] + 0.45 * side], 1))
    return replace(data, embedded=images)


def test_ap_of_left_out_images_by_hand() -> None:
    finds = HeldOutFinds(
        scores=np.array([0.9, 0.8, 0.7, 0.9]),
        labels=np.array([0, 0, 0, 1]),
        right=np.array([True, False, True, False]),
        images=np.array([0, 0, 1, 1]),
        objects=np.array([[1.0, 0], [1, 1]]),
    )
    assert class_mean_ap(finds) == pytest.approx(((1 + 2 / 3) / 2 + 0) / 2)
    assert class_mean_ap(finds, np.array([True, False])) == 1.0  # class 1 has no mark there


def test_boxes_that_lie_beside_the_marks_are_moved() -> None:
    data = beside(parts())
    result = tuned(supports(data), RULE)
    assert result.before == 0 and result.after == 1 and result.rule.box_refinement
    assert result.changes == ("boxes are moved to where the marks lie",)
    scorer = Method("tuned", RULE).learn(supports(data))
    (detections,) = scorer.detect([data.embedded["q0"]])
    assert detections.best_first().boxes[0] == pytest.approx(data.records["q0"].boxes[0], abs=1.0)


def test_what_cannot_be_bettered_stays_as_it_is() -> None:
    result = tuned(supports(parts()), RULE)
    assert result.rule == RULE and result.before == result.after == 1 and not result.changes and result.tried == 5


@pytest.mark.parametrize(("more", "taken"), [(2, False), (4, True)])
def test_a_rise_is_taken_from_twice_its_standard_error_on(more: int, taken: bool) -> None:
    # Of eight objects `more` are found in addition, so AP rises by p = more / 8; the jackknife of a mean of eight zeros and
    # ones has the standard error sqrt(p (1 - p) / 7): the rise is 1.5 and 2.6 of them.
    def of(count: int) -> HeldOutFinds:
        images = np.arange(count)
        return HeldOutFinds(np.ones(count), np.zeros(count, int), np.ones(count, bool), images, np.ones((8, 1)))

    assert tuning._is_better(of(8), of(8 - more), careful=True) is taken
    assert tuning._is_better(of(8), of(8 - more), careful=False)


def test_one_image_or_no_time_chooses_nothing() -> None:
    data = parts()
    alone = SupportSet(data.classes[:1], [data.marks(1, 0)[0]], data.records, data.embedded)
    assert tuned(alone, RULE).before is None
    assert tuned(supports(beside(data)), RULE, seconds=0).rule == RULE


def test_no_setting_is_tried_that_would_not_be_done_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 1000, 10))  # each look at the clock is ten seconds later: so long takes the first estimate
    monkeypatch.setattr(tuning.time, "monotonic", lambda: float(next(clock)))
    assert tuned(supports(beside(parts())), RULE, seconds=45).tried == 1  # done at 30; the next would be at 50


def test_a_layer_of_boxes_is_kept_in_the_state() -> None:
    data = beside(parts())
    scorer = LogisticRegression.learn(supports(data), replace(RULE, box_refinement=1.0))
    assert scorer.state()["box_layer"].shape == (9, 4)
