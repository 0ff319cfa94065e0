"""What a person can do on a page, without a browser: each step is on disk, is learnt, is shown, and can be taken back."""

import json

import pytest
from coloured_things import ColourDetector

from repmet.errors import UserError
from repmet.page.finds import Find

RED_ONE, RED_TWO, BLUE_ONE = (20, 30, 70, 80), (120, 130, 180, 190), (220, 40, 280, 90)


def settled(session):
    assert session.finder.wait(20), session.finder.problem
    return session


def on_disk(session):
    rows = json.loads(session.project.marks_file.read_text(encoding="utf-8"))["annotations"]
    return [(row["id"], row["state"], row["source"]) for row in rows]


def finds(session, number=0):
    return [box for box in session.shown(number) if box.verdict is None]


def test_one_box_shows_all_others(session):
    mark = session.draw(0, RED_ONE, " red  thing ")
    assert on_disk(session) == [(1, "accepted", "drawn")] and mark.name == "red thing"
    settled(session)
    (find,) = finds(session)
    assert find.box == pytest.approx(RED_TWO) and find.name == "red thing" and find.score > 0.9
    assert [len(finds(session, n)) for n in range(4)] == [1, 3, 2, 3]  # the pink ones resemble it
    assert session.estimates()["red thing"].above == 9


def test_a_click_accepts_the_next_rejects_the_third_takes_back(session):
    session.draw(0, RED_ONE, "red")
    (find,) = finds(settled(session), 0)
    session.click(0, find.key)
    assert on_disk(session)[1] == (2, "accepted", "found") and not finds(settled(session))
    session.click(0, "m2")
    assert on_disk(session)[1] == (2, "rejected", "found")
    settled(session)
    assert all(not finds(session, n) for n in range(4))  # what looks like it counts against the class
    session.click(0, "m2")
    assert len(on_disk(session)) == 1 and len(finds(settled(session))) == 1
    session.click(0, "m1")  # a drawn box is not lost by a click
    assert len(on_disk(session)) == 1


def test_reject_takes_a_drawn_box_away_and_keeps_a_find_as_a_negative(session):
    session.draw(0, RED_ONE, "red")
    (find,) = finds(settled(session))
    session.reject(0, find.key)
    assert session.state.mark(2).verdict == "rejected" and session.state.mark(2).score > 0.9
    session.reject(0, "m1")
    assert [mark.number for mark in session.state.marks] == [2]
    settled(session)
    assert not session.finder.has_learnt() and not finds(session)


def test_undo_takes_every_step_back_and_the_finds_follow(session):
    session.draw(0, RED_ONE, "red")
    session.draw(0, BLUE_ONE, "blue")
    session.accept(0, finds(settled(session))[0].key)
    session.rename_class("blue", "sea")
    session.move(2, "red")
    states = []
    while session.undo():
        states.append((session.state.classes, [(mark.number, mark.name) for mark in session.state.marks]))
    assert states == [
        (("red", "sea"), [(1, "red"), (2, "sea"), (3, "red")]),
        (("red", "blue"), [(1, "red"), (2, "blue"), (3, "red")]),
        (("red", "blue"), [(1, "red"), (2, "blue")]),
        (("red",), [(1, "red")]),
        ((), []),
    ]
    assert not finds(settled(session)) and on_disk(session) == []


def test_a_find_that_is_corrected_is_accepted_with_the_new_box(session):
    session.draw(0, RED_ONE, "red")
    (find,) = finds(settled(session))
    session.correct(0, find.key, (118, 128, 182, 400))
    mark = session.state.mark(2)
    assert mark.box == (118, 128, 182, 240) and (mark.verdict, mark.source) == ("accepted", "found")
    session.correct(0, "m1", (18, 28, 72, 82))
    assert session.state.mark(1).box == (18, 28, 72, 82)


def test_a_find_gets_another_class(session):
    session.draw(0, RED_ONE, "red")
    (find,) = finds(settled(session))
    session.name(0, find.key, "scarlet")
    assert session.state.classes == ("red", "scarlet") and session.state.mark(2).name == "scarlet"


def test_the_threshold_follows_the_detector_until_it_is_moved(session):
    session.draw(1, RED_ONE, "red")
    settled(session)
    assert session.threshold("red") == 0.5 and len(finds(session, 1)) == 2  # a red one and a pink one at 0.6
    session.set_threshold("red", 0.9)
    assert len(finds(session, 1)) == 1 and session.estimates()["red"].above == 7
    session.set_threshold("red", None)
    assert session.threshold("red") == 0.5
    with pytest.raises(UserError):
        session.set_threshold("green", 0.5)


def test_next_goes_to_what_is_most_doubtful_and_ends(session):
    session.draw(0, RED_ONE, "red")
    settled(session)
    assert session.worth(1) > session.worth(2)  # a pink thing is doubtful
    order, number = [], 0
    while number is not None and len(order) < 9:
        session.leave(number)
        number = session.next_worth(number)
        order.append(number)
    assert order[:3] == [1, 3, 2] and order[3] in (1, 3)  # what is undecided is offered again
    for image in range(4):
        for find in finds(session, image):
            session.accept(image, find.key)
            settled(session)
    assert session.next_worth(2) is None


def test_everything_is_there_after_a_restart(opened):
    session = opened()
    session.draw(0, RED_ONE, "red")
    session.accept(0, finds(settled(session))[0].key)
    session.set_threshold("red", 0.55)
    session.leave(0)
    before = session.state, finds(settled(session), 1)
    again = opened(detector=ColourDetector())
    assert (again.state, finds(again, 1)) == before and again.names[0] in again.project.seen


def test_classes_of_a_file_are_looked_for_at_once(opened, tmp_path):
    (tmp_path / "saved").write_text("red 200 40 40")
    session = opened(saved=tmp_path / "saved")
    assert session.state.classes == ("red",) and len(finds(session)) == 2
    session.draw(0, BLUE_ONE, "blue")
    assert {box.name for box in finds(settled(session), 1)} == {"red", "blue"}


def test_examples_that_look_wrong_are_flagged(session):
    session.draw(0, RED_ONE, "red")
    wrong = session.draw(0, BLUE_ONE, "red")
    session.draw(1, BLUE_ONE, "blue")
    settled(session)
    assert session.odd(wrong) is None
    session.finder.finds[0] = [Find(BLUE_ONE, "red", 0.2), Find(RED_ONE, "red", 0.8), Find(RED_TWO, "blue", 0.9)]
    assert session.odd(wrong) == "looks unlike the others" and session.odd(session.state.mark(1)) is None
    session.finder.finds[0].append(Find(BLUE_ONE, "blue", 0.9))
    assert session.odd(wrong) == "looks more like blue"


def test_finds_are_kept_on_disk_when_all_was_looked_at(session):
    session.draw(0, RED_ONE, "red")
    settled(session)
    content = json.loads((session.project.folder / "finds.json").read_text(encoding="utf-8"))
    assert {row["state"] for row in content["annotations"]} == {"found"}
    assert {row["file_name"]: row["width"] for row in content["images"]} == {
        f"scenes/scene_{n:04d}.png"[7:]: 320 for n in range(4)
    }


@pytest.mark.parametrize(
    "step",
    [
        lambda s: s.draw(0, (5, 5, 6, 6), "red"),
        lambda s: s.draw(0, (400, 400, 500, 500), "red"),
        lambda s: s.draw(0, RED_ONE, " "),
        lambda s: s.accept(0, "f1_2_3_4_red"),
        lambda s: s.correct(0, "m9", RED_ONE),
        lambda s: s.delete(3),
        lambda s: s.rename_class("red", "blue"),
    ],
)
def test_what_cannot_be_done_changes_nothing(session, step):
    before = session.state
    with pytest.raises(UserError):
        step(session)
    assert session.state == before and not session.undo()


def test_listeners_hear_of_it(session):
    heard = []
    session.listeners.append(lambda what, number: heard.append((what, number)))
    session.draw(0, RED_ONE, "red")
    settled(session)
    assert heard[0] == ("marks", None) and ("taught", None) in heard and ("finds", 0) in heard and ("finds", 3) in heard


def test_the_strip_by_name_or_the_promising_first(session):
    session.draw(0, BLUE_ONE, "blue")
    settled(session)
    assert session.order() == [0, 1, 2, 3]
    assert session.order(promising=True)[-1] == 0  # what is on it is decided
    best = {n: max((find.score for find in session.finds(n)), default=0) for n in range(4)}
    assert [best[n] for n in session.order(promising=True)] == sorted(best.values(), reverse=True)
