"""The detector follows the marks: by single steps where few changed, anew where many did, and with the same outcome."""

import itertools
import random
from pathlib import Path

import numpy as np
import pytest
from coloured_things import BLUE, RED, ColourDetector, scene

from repmet.page.teacher import FEW, Lesson, Teacher


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return scene(
        tmp_path / "a.png", [(RED, (10, 10, 60, 60)), (BLUE, (100, 10, 160, 60)), ((200, 180, 40), (200, 100, 260, 160))]
    )


@pytest.fixture
def lessons(image: Path) -> list[Lesson]:
    red, blue, gold = (10, 10, 60, 60), (100, 10, 160, 60), (200, 100, 260, 160)
    return [
        Lesson(image, red, "red", True),
        Lesson(image, gold, "red", False),
        Lesson(image, blue, "blue", True),
        Lesson(image, gold, "blue", False),
        Lesson(image, gold, "gold", True),
        Lesson(image, blue, "gold", False),
    ]


def said(detector, image):
    detections = detector.detect(str(image), min_score=0.0)
    return sorted(
        (name, *box, round(float(p), 6))
        for name, box, p in zip(detections.names, detections.boxes.tolist(), detections.scores, strict=True)
    )


def test_one_mark_more_is_one_step_and_one_less_is_undone(lessons):
    teacher = Teacher(ColourDetector())
    for count in (1, 2, 3, 2, 1):
        assert teacher.teach(lessons[:count])
    assert teacher.detector.calls == ["learn", "reject", "accept", "undo", "undo"]
    assert not teacher.teach(lessons[:1])


def test_any_walk_ends_where_learning_anew_does(lessons, image):
    """The outcome depends on the marks alone, not on how somebody came to them."""
    rng = random.Random(0)
    teacher = Teacher(ColourDetector())
    for _ in range(60):
        marks = rng.sample(lessons, rng.randint(0, len(lessons)))
        teacher.teach(marks)
        fresh = Teacher(ColourDetector())
        fresh.teach(marks)
        assert teacher.ready == fresh.ready == any(lesson.accepted for lesson in marks)
        if teacher.ready:
            assert set(teacher.classes) == set(fresh.classes)
            assert said(teacher.detector, image) == said(fresh.detector, image)


def test_many_changes_are_learnt_at_once(lessons, image):
    teacher = Teacher(ColourDetector())
    teacher.teach(lessons[:1])
    more = [Lesson(image, (10, 10, 50 + k, 60), "red", True) for k in range(FEW + 1)]
    teacher.teach(lessons[:1] + more)
    assert teacher.detector.calls == ["learn", "learn"]


def test_a_rejection_waits_for_the_first_example_of_its_class(lessons):
    teacher = Teacher(ColourDetector())
    assert not teacher.teach([lessons[1]]) and not teacher.ready and not teacher.classes
    teacher.teach(lessons[:2])
    assert teacher.detector.calls == ["learn", "reject"]


def test_marks_in_images_that_are_gone_wait(lessons, tmp_path):
    teacher = Teacher(ColourDetector())
    gone = Lesson(tmp_path / "gone.png", (0, 0, 9, 9), "nothing", True)
    teacher.teach([gone, lessons[0]])
    assert teacher.classes == ("red",)


def test_saved_classes_are_kept_below_the_marks(lessons, image, tmp_path):
    first = Teacher(ColourDetector())
    first.teach(lessons[:1])
    first.detector.save(tmp_path / "c")
    teacher = Teacher(ColourDetector(), tmp_path / "c")
    assert teacher.ready and teacher.known == teacher.classes == ("red",)
    teacher.teach([lessons[2]])
    assert teacher.classes == ("red", "blue")
    teacher.teach([])
    assert teacher.classes == ("red",) and teacher.detector.calls == ["load", "accept", "undo"]


def test_what_cannot_be_learnt_leaves_what_was_learnt(lessons, image):
    class Refuses(ColourDetector):
        def accept(self, image, box, name):
            raise ValueError("no")

    teacher = Teacher(Refuses())
    teacher.teach(lessons[:2])
    before = said(teacher.detector, image)
    with pytest.raises(ValueError, match="no"):
        teacher.teach(lessons[:3])
    assert said(teacher.detector, image) == before
    assert not teacher.teach(lessons[:2])


def test_the_detector_of_these_tests_finds_by_colour(lessons, image):
    """The others mean nothing otherwise."""
    teacher = Teacher(ColourDetector())
    teacher.teach(lessons[:1])
    detections = teacher.detector.detect(str(image), min_score=0.5)
    assert detections.boxes.tolist() == [[10, 10, 60, 60]] and np.isclose(detections.scores[0], 1, atol=0.01)
    assert len(list(itertools.chain(detections.names))) == 1
