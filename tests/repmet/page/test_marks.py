"""Marks and states: what is refused, and what one change leaves as it was."""

import pytest

from repmet.errors import UserError
from repmet.page.marks import Mark, State, checked_box, checked_name, overlap


def state() -> State:
    marks = (
        Mark(1, "a.png", (0, 0, 10, 10), "nut"),
        Mark(2, "a.png", (20, 0, 30, 10), "bolt", "rejected", "found", 0.4),
        Mark(3, "b.png", (5, 5, 25, 25), "nut"),
    )
    return State(("nut", "bolt"), marks, {"nut": 0.3})


def test_a_class_is_renamed_with_its_marks_and_threshold():
    after = state().renamed("nut", "wing  nut ")
    assert after.classes == ("wing nut", "bolt")
    assert [mark.name for mark in after.marks] == ["wing nut", "bolt", "wing nut"]
    assert after.thresholds == {"wing nut": 0.3}
    assert state().renamed("nut", "nut") == state()


def test_a_class_goes_with_its_marks_and_threshold():
    after = state().without_class("nut")
    assert (after.classes, [mark.number for mark in after.marks], after.thresholds) == (("bolt",), [2], {})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.renamed("nut", "bolt"), "there is a class 'bolt' already"),
        (lambda s: s.renamed("screw", "x"), "there is no class 'screw'; there are: nut, bolt"),
        (lambda s: s.renamed("nut", "\n "), "needs a name"),
        (lambda s: s.renamed("nut", "x" * 101), "at most 100 letters"),
        (lambda s: s.without_mark(9), "no mark 9"),
        (lambda s: s.with_threshold("nut", 1.5), r"in \[0, 1\]"),
        (lambda s: s.with_class("a\0b"), "letters that can be seen"),
    ],
)
def test_what_makes_no_sense_is_refused(change, message):
    with pytest.raises(UserError, match=message):
        change(state())


def test_names_in_any_script_are_kept():
    for name in ("Schraube größer", "ねじ", "برغي"):
        assert checked_name(f" {name} ") == name


def test_boxes_are_put_in_order_and_inside():
    assert checked_box((50, 40, 10.123, -5), (45, 60)) == (10.12, 0, 45, 40)
    for bad in [(0, 0, 1, 50), (50, 50, 90, 90), (0, 0, float("nan"), 5), (1, 2, 3), ("a", 0, 9, 9)]:
        with pytest.raises(UserError):
            checked_box(bad, (45, 45))


def test_overlap():
    assert overlap((0, 0, 10, 10), (0, 0, 10, 10)) == 1
    assert overlap((0, 0, 10, 10), (5, 0, 15, 10)) == pytest.approx(1 / 3)
    assert overlap((0, 0, 10, 10), (10, 0, 20, 10)) == 0
