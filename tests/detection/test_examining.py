"""What a detector says of its supports: wrong labels, doubles and boxes out of reach; what to expect; what to mark next."""

import re
import shutil
from itertools import pairwise

import pytest

from repmet.detection import check, estimate, tune
from repmet.detection.examining import advice, enough
from repmet.detection.few_shot_detector import FewShotDetector

PRIOR = [[1, 1.7, 3.8, 0.4], [10, 2.1, 2.8, 0.5]]


@pytest.fixture(scope="module")
def marks(support_records) -> dict:
    records = sorted(support_records, key=lambda r: r.id)
    names = sorted({n for r in records for n in r.names})
    return {
        n: [(r.path, tuple(r.boxes[b])) for r in records for b, label in enumerate(r.names) if label == n] for n in names
    }


@pytest.fixture(scope="module")
def detector(glyph_run, marks) -> FewShotDetector:
    made = FewShotDetector(glyph_run, method="logistic")
    made.cfg.episodes.score_prior = PRIOR
    return made.learn(marks)


def test_a_support_under_the_wrong_name_is_the_odd_one_out(glyph_run, marks) -> None:
    first, second = [name for name in marks if len(marks[name]) >= 3][:2]
    wrong = dict(marks)
    wrong[first] = [*marks[first], marks[second][0]]
    wrong[second] = marks[second][1:]
    problems = FewShotDetector(glyph_run, method="logistic").learn(wrong).check()
    odd = [(p.name, p.box) for p in problems if p.kind in ("outlier", "duplicate")]
    assert (first, marks[second][0][1]) in odd


def test_the_same_thing_under_two_names_is_said_once(glyph_run, marks) -> None:
    (name, *_) = marks
    twice = dict(marks) | {"again": marks[name][:1]}
    problems = FewShotDetector(glyph_run, method="logistic").learn(twice).check()
    (double,) = [p for p in problems if p.kind == "duplicate"]
    assert double.box == marks[name][0][1] and "looks the same as a support of" in double.said


def test_a_box_that_no_proposal_reaches_is_said(glyph_run, marks) -> None:
    (name, *_) = marks
    image = marks[name][0][0]
    problems = FewShotDetector(glyph_run, method="logistic").learn(dict(marks) | {"dot": [(image, (1, 1, 3, 3))]}).check()
    assert ("dot", "unreached") in {(p.name, p.kind) for p in problems}


def test_an_estimate_has_every_class_and_all(detector) -> None:
    rows = detector.estimate()
    assert list(rows) == [*detector.classes, "all"]
    for row in rows.values():
        for part in (row.precision, row.recall):
            assert 0 <= part.low <= part.value <= part.high <= 1
    curve = detector.learning_curve()
    assert curve[-1][1] == pytest.approx(rows["all"].f1) and all(a[0] < b[0] for a, b in pairwise(curve))


def test_enough_is_where_more_brings_little() -> None:
    assert enough([(1, 0.3), (2, 0.6), (5, 0.61), (9, 0.61)]) == 2
    assert enough([(1, 0.3), (2, 0.5), (5, 0.7)]) is None
    assert enough([(1, 0.16), (2, 0.62), (3, 0.67), (5, 0.43), (8, 0.62), (9, 0.62)]) is None


def test_an_uneven_curve_promises_nothing() -> None:
    assert advice([(1, 0.3), (2, 0.6), (5, 0.61), (9, 0.61)]) == "from 2 images on, more bring little"
    assert advice([(1, 0.3), (2, 0.5), (5, 0.7)]) == "more marked images help still"
    assert "too uneven" in advice([(1, 0.16), (2, 0.62), (3, 0.67), (5, 0.43), (8, 0.62), (9, 0.62)])


def test_what_to_mark_next_is_neither_empty_nor_the_same_again(detector, photos) -> None:
    paths = sorted(photos.iterdir())
    chosen = detector.mark_next([*paths, paths[0]], count=len(paths) + 1)
    assert {c.path for c in chosen} == set(paths) and len(chosen) == len(paths) + 1
    with pytest.raises(ValueError, match="count is at least 1"):
        detector.mark_next(paths, count=0)


def test_what_cannot_be_examined_is_said(glyph_run, marks, detector, tmp_path) -> None:
    (name, *_) = marks
    alone = FewShotDetector(glyph_run, method="logistic").learn({name: marks[name][:1]})
    with pytest.raises(ValueError, match="at least two images"):
        alone.estimate()
    with pytest.raises(ValueError, match="learn first"):
        FewShotDetector(glyph_run).check()
    detector.save(tmp_path / "classes.pth")
    with pytest.raises(ValueError, match="learn first"):
        FewShotDetector(glyph_run, method="logistic").load(tmp_path / "classes.pth").estimate()


@pytest.fixture
def logistic(glyph_run, monkeypatch) -> None:
    """The commands' detector scores by `logistic`, as the one that ships."""

    class Logistic(FewShotDetector):
        def __init__(self, checkpoint: str | None, marks: str | None = None) -> None:
            super().__init__(checkpoint, method="logistic", marks=marks)
            self.cfg.episodes.score_prior = PRIOR

    for command in (check, estimate, tune):
        monkeypatch.setattr(command, "FewShotDetector", Logistic)


def test_the_commands(logistic, glyph_run, support, photos, tmp_path, capsys) -> None:
    assert estimate.main([str(glyph_run), "--support", str(support), "--images", str(photos), "--count", "2"]) == 0
    said = capsys.readouterr().out
    assert "precision" in said and "mark next:" in said and said.rstrip().splitlines()[-1].startswith("  ")
    code = check.main([str(glyph_run), "--support", str(support), "--out", str(tmp_path / "out")])
    said = capsys.readouterr().out
    assert code == ("nothing is amiss" not in said)
    broken = tmp_path / "broken"
    shutil.copytree(support, broken)
    file = sorted(broken.glob("*.xml"))[0]
    sides = "".join(f"<{side}>{value}</{side}>" for side, value in (("xmin", 2), ("ymin", 2), ("xmax", 4), ("ymax", 4)))
    dot = f"<object><name>dot</name><bndbox>{sides}</bndbox></object></annotation>"
    file.write_text(file.read_text().replace("</annotation>", dot))
    assert check.main([str(glyph_run), "--support", str(broken), "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().out
    assert "dot: " in said and "no proposal reaches this box" in said
    assert (tmp_path / "out" / "check.png").stat().st_size > 500
    assert check.main([str(glyph_run), "--support", str(tmp_path / "nothing")]) == 2
    assert "no such" in capsys.readouterr().err


def test_tuning_writes_what_detects_and_is_no_worse_by_its_own_estimate(
    logistic, glyph_run, support, photos, tmp_path, capsys
) -> None:
    file = tmp_path / "tuned.pth"
    assert tune.main([str(glyph_run), "--support", str(support), "--out", str(file)]) == 0
    said = capsys.readouterr().out
    before, after = map(int, re.search(r"(\d+) % untuned, (\d+) % tuned", said).groups())
    assert after >= before and f"written: {file}" in said
    kept = tune.FewShotDetector(str(glyph_run)).load(file)
    assert kept.detect(sorted(photos.iterdir())[0], min_score=0).classes == kept.classes
    assert tune.main([str(glyph_run), "--support", str(support), "--out", str(file), "--seconds", "0"]) == 2


def test_tuning_from_one_image_learns_as_without_it(glyph_run, marks) -> None:
    (name, *_) = marks
    detector = FewShotDetector(glyph_run, method="logistic")
    result = detector.tune({name: marks[name][:1]})
    assert result.before is None and not result.changes and detector.classes == (name,)
    with pytest.raises(ValueError, match="the method here is 'repmet'"):
        FewShotDetector(glyph_run).tune({name: marks[name][:1]})
