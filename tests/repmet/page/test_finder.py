"""Looking in the background: all images, the one on the screen first, and no image ends it."""

import threading
import time

import pytest
from coloured_things import ColourDetector

from repmet.errors import UserError
from repmet.page.finder import Finder, spread
from repmet.page.gallery import Gallery
from repmet.page.teacher import Lesson, Teacher

RED_ONE = (20, 30, 70, 80)


@pytest.fixture
def finder_of(tmp_path):
    finders = []

    def make(places, detector, told=lambda what, number: None) -> Finder:
        finders.append(Finder(Gallery(places), lambda: Teacher(detector), told, tmp_path / "classes"))
        return finders[-1]

    yield make
    for finder in finders:
        finder.end()


def lesson(finder, number=0, name="red"):
    return Lesson(finder.gallery.pictures[number].path, RED_ONE, name, True)


def test_all_images_are_embedded_then_searched(scenes, finder_of):
    heard = []
    finder = finder_of([scenes], ColourDetector(), lambda *what: heard.append(what))
    finder.start()
    assert finder.wait(20) and not finder.finds
    assert (finder.progress().embedded, finder.progress().looked, finder.progress().total) == (4, 0, 4)
    finder.learn([lesson(finder)])
    assert finder.wait(20) and sorted(finder.finds) == [0, 1, 2, 3]
    assert all(sum(find.score > 0.9 for find in finds) == 2 for finds in finder.finds.values())
    assert finder.progress().looked == 4 and finder.thresholds == {"red": 0.5}
    assert heard[0] == ("ready", None) and heard[-1] == ("rest", None) and ("taught", None) in heard
    assert finder.saved.read_text().startswith("red ")
    finder.learn([])
    assert finder.wait(20) and not finder.finds and not finder.has_learnt()


def test_the_image_on_the_screen_comes_first(tmp_path, finder_of):
    from coloured_things import lay_out

    order = []
    detector = ColourDetector(seconds=0.02)
    finder = finder_of(
        [lay_out(tmp_path / "many", 40)], detector, lambda what, n: order.append(n) if what == "finds" else None
    )
    finder.look_first(17)
    finder.start()
    assert finder.wait(30)
    assert order[0] == 17 and set(order[1:3]) == {16, 18}
    order.clear()
    finder.learn([lesson(finder)])
    finder.look_first(31)
    assert finder.wait(30) and 31 in order[:2]


def test_a_mark_is_learnt_while_others_are_still_embedded(tmp_path, finder_of):
    from coloured_things import lay_out

    taught = threading.Event()
    finder = finder_of(
        [lay_out(tmp_path / "many", 60)],
        ColourDetector(seconds=0.05),
        lambda what, n: taught.set() if (what, n) == ("finds", 0) and finder.finds else None,
    )
    finder.start()
    time.sleep(0.3)
    finder.learn([lesson(finder)])
    assert taught.wait(1)
    assert finder.progress().embedded < 60 and finder.progress().seconds > 0


def test_an_image_that_cannot_be_read_is_named_and_passed_over(scenes, finder_of):
    (scenes / "broken.png").write_bytes(b"no image")
    finder = finder_of([scenes], ColourDetector())
    finder.start()
    assert finder.wait(20)
    assert list(finder.unreadable) == [0] and "broken.png" in finder.unreadable[0]
    assert finder.progress().total == 4


def test_a_defect_in_one_image_does_not_end_the_looking(scenes, finder_of, caplog):
    class Fails(ColourDetector):
        def embed(self, images):
            if "scene_0001" in images[0]:
                raise RuntimeError("odd")
            super().embed(images)

    finder = finder_of([scenes], Fails())
    finder.start()
    assert finder.wait(20)
    assert finder.progress().embedded == 3 and "odd" in finder.problem and list(finder.unreadable) == [1]


def test_a_detector_that_does_not_open_says_why(scenes, tmp_path):
    def closed():
        raise UserError("no weights")

    finder = Finder(Gallery([scenes]), closed, lambda what, number: None, tmp_path / "c")
    finder.start()
    finder._thread.join(5)
    assert finder.problem == "no weights" and not finder.ready
    finder.end()


@pytest.mark.parametrize("count", [1, 2, 3, 7, 64, 100])
def test_spread_visits_all_and_begins_far_apart(count):
    order = list(spread(count))
    assert sorted(order) == list(range(count))
    if count >= 7:
        assert abs(order[0] - order[1]) >= count // 3


def test_nothing_is_begun_while_a_hand_draws(tmp_path, finder_of):
    from coloured_things import lay_out

    finder = finder_of([lay_out(tmp_path / "many", 60)], ColourDetector(seconds=0.02))
    finder.start()
    time.sleep(0.4)
    finder.hold()
    time.sleep(0.1)
    before = finder.progress().embedded
    time.sleep(0.3)
    assert finder.progress().embedded == before < 60
    finder.learn([lesson(finder)])  # the hand is done
    assert finder.wait(30) and len(finder.finds) == 60
