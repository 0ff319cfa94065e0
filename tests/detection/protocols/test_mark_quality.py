"""Spoilt marks: one label in ten moves, passed-over objects spoil the background, and a chosen image is one of the pool."""

from itertools import chain

import numpy as np
import pytest
from parts import embedded, parts, record

from repmet.detection.protocols.mark_quality import _known, chosen_of_draw, faults_of_draw, with_wrong_labels
from repmet.detection.protocols.own_data import OwnData
from repmet.detection.scoring.methods import Method
from repmet.detection.scoring.rule import FewShotRule

METHOD = Method("logistic", FewShotRule(support_iou=None, objectness=1.0))


def many() -> OwnData:
    data = parts()
    train = [record(f"m{k}", [("nut", [5, 5, 30, 30]), ("bolt", [40, 5, 60, 40])]) for k in range(12)]
    return OwnData("many", data.classes, train, data.tested, data.embedded | {r.id: embedded(r) for r in train})


def test_one_label_in_ten_of_each_class_moves() -> None:
    marks = [[(f"a{k}", 0) for k in range(20)], [(f"b{k}", 0) for k in range(10)], [("c", 0)]]
    spoilt = with_wrong_labels(marks, np.random.default_rng(0))
    stayed = [set(was) & set(now) for was, now in zip(marks, spoilt, strict=True)]
    assert list(map(len, stayed)) == [18, 9, 1]
    assert sorted(chain(*spoilt)) == sorted(chain(*marks))
    assert with_wrong_labels([marks[0]], np.random.default_rng(0)) is None  # there is no other class
    assert with_wrong_labels([m[:9] for m in marks], np.random.default_rng(0)) is None


def test_classes_that_are_plain_to_see_survive_a_wrong_label_without_its_mark() -> None:
    figures = faults_of_draw(many(), METHOD, 10, 0)
    assert figures["AP50"] == figures["AP50_robust"] == figures["AP50_wrong_robust"] == 1.0
    assert figures["AP50_all"] == 1.0 and figures["AP50_half_known"] == 1.0
    assert faults_of_draw(many(), METHOD, 3, 0)["AP50_wrong"] is None


def test_what_overlaps_an_object_without_a_mark_is_kept_out_of_the_background() -> None:
    data = many()
    known = _known(data, [[], [("m0", 0)]], ["m0"])["m0"]  # the nut is marked, the bolt passed over
    nut, bolt, *ground = data.embedded["m0"].proposals.tolist()
    assert known.proposals.tolist() == [nut, *ground] and bolt not in known.proposals.tolist()
    assert len(known.objectness) == len(known.embeddings["baseline_roi"]) == 3
    assert len(data.embedded["m0"].proposals) == 4  # the set itself stays as it is


def test_images_are_chosen_from_the_pool_and_counted() -> None:
    figures = chosen_of_draw(many(), METHOD, [0, 2], 0)
    assert list(figures) == [0, 2] and set(figures[2]) == {"chosen_AP50", "random_AP50"}
    assert figures[0]["chosen_AP50"] == figures[0]["random_AP50"]  # the first marks are the same
    assert figures[2]["chosen_AP50"] == pytest.approx(1.0)
    assert chosen_of_draw(many(), METHOD, [50], 0) is None
