"""Classes of a few-shot detector that come and go: marked in Python, added, removed, renamed, loaded."""

import pytest
import torch
from found import close, everything, same

from repmet.detection.few_shot_detector import FewShotDetector


def test_marks_teach_what_xml_files_teach(taught, glyph_run, marks, photos) -> None:
    detector = FewShotDetector(glyph_run)
    assert detector.learn(marks) is detector
    assert detector.classes == taught.classes
    close(everything(detector, photos), everything(taught, photos))


@pytest.mark.parametrize("modes", [1, None])
@pytest.mark.parametrize("method", ["repmet", "np_repmet", "tfa_cosine"])
def test_adding_and_removing_is_learning_those_classes(glyph_run, marks, photos, method, modes) -> None:
    first, second, third, *_ = marks
    detectors = [FewShotDetector(glyph_run, method=method) for _ in range(2)]
    for detector in detectors:
        detector.cfg.episodes.modes = modes
    step_by_step, at_once = detectors
    step_by_step.learn({first: marks[first], second: marks[second]})
    step_by_step.add(third, marks[third][:1])
    step_by_step.add(third, marks[third][1:]) if marks[third][1:] else None
    step_by_step.remove(first)
    at_once.learn({second: marks[second], third: marks[third]})
    assert step_by_step.classes == at_once.classes == tuple(sorted((second, third)))
    if method == "repmet":  # the other two look at the images' backgrounds, which an image added again brings again
        close(everything(step_by_step, photos), everything(at_once, photos))
    assert all(set(detections.names) <= {second, third} for detections in everything(step_by_step, photos).values())


def test_other_classes_keep_their_representatives_bit_for_bit(glyph_run, marks) -> None:
    first, second, third, *_ = marks
    detector = FewShotDetector(glyph_run).learn({first: marks[first], third: marks[third]})
    before = detector.learnt.scorer.representatives
    detector.add(second, marks[second])
    after = detector.learnt.scorer.representatives
    order = detector.classes
    for k, name in enumerate((first, third)):
        assert torch.equal(after[order.index(name), : before.shape[1]], before[k])
    numbers = [detector.classes[k] for k in detector.learnt.labels]
    assert {n: numbers.count(n) for n in order} == {n: len(marks[n]) for n in (first, second, third)}


def test_before_learning_add_begins(glyph_run, marks) -> None:
    name, other, *_ = marks
    detector = FewShotDetector(glyph_run)
    base = detector.classes
    assert detector.add(name, marks[name]).classes == (name,)
    assert base != (name,)
    with pytest.raises(ValueError, match=f"{name!r} is the only class that was learnt"):
        detector.remove(name)
    detector.add(other, marks[other]).rename(name, "a new name")
    assert set(detector.classes) == {"a new name", other}
    for wrong, message in (("nail", "there is no class 'nail' among the learnt ones; there are: "),):
        with pytest.raises(ValueError, match=message):
            detector.remove(wrong)
        with pytest.raises(ValueError, match=message):
            detector.rename(wrong, "x")
    with pytest.raises(ValueError, match="is the name of another class"):
        detector.rename(other, "a new name")
    for none in (" ", 3, "a\0"):
        with pytest.raises(ValueError, match=r"is no name|is of type int|control characters"):
            detector.rename(other, none)
    before = detector.learnt
    assert detector.rename(other, other).classes == before.classes  # itself: nothing changes


def test_what_was_loaded_can_be_added_to_where_the_method_needs_no_images(glyph_run, marks, photos, tmp_path) -> None:
    first, second, third, *_ = marks
    for method in ("repmet", "baseline_ft"):
        detector = FewShotDetector(glyph_run, method=method).learn({first: marks[first], second: marks[second]})
        detector.save(tmp_path / f"{method}.pth")
        again = FewShotDetector(glyph_run, method=method).load(tmp_path / f"{method}.pth")
        same(everything(again, photos), everything(detector, photos))
        if method == "repmet":
            detector.add(third, marks[third])
            again.add(third, marks[third]).remove(first)
            same(everything(again, photos), everything(detector.remove(first), photos))
        else:
            with pytest.raises(ValueError, match="learns all classes together from their images"):
                again.add(third, marks[third])
