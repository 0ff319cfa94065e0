"""What a person can do on a page. Plain Python, no browser.

Every change is on disk when its method returns. The finder follows in the background.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

from repmet.page.finder import Finder
from repmet.page.finds import Find
from repmet.page.gallery import Gallery
from repmet.page.marks import Box, Mark, Source, State, Verdict, checked_box, checked_name
from repmet.page.project import Project
from repmet.page.teacher import Lesson, Teacher, lessons_of
from repmet.page.view import View

Listener = Callable[[str, int | None], None]


class Session(View):
    """One project, its images and the detector that follows it.

    Args:
        gallery: the images.
        project: open, and closed by `end`.
        open_teacher: see `Finder`.
    """

    def __init__(self, gallery: Gallery, project: Project, open_teacher: Callable[[], Teacher]) -> None:
        self.gallery, self.project = gallery, project
        self.names = [project.name_of(picture.path) for picture in gallery.pictures]
        self.paths = {name: picture.path for name, picture in zip(self.names, gallery.pictures, strict=True)}
        self.numbers = {name: number for number, name in enumerate(self.names)}
        self.current = 0  # the image that somebody last went to
        self.listeners: list[Listener] = []
        self._sizes: dict[int, tuple[int, int]] = {}
        self._open_finds: dict[int, tuple[list[Find], list[Mark], list[Find]]] = {}
        self._lock = threading.RLock()
        self.finder = Finder(gallery, open_teacher, self._told, project.classes_file)
        self.finder.learn(self._lessons())

    def start(self) -> None:
        self.finder.start()

    def end(self) -> None:
        """Stops looking and lets another page open the project."""
        self.finder.end()
        self.project.close()

    # --- what a person can do --------------------------------------------------------------------------------------------

    def draw(self, number: int, box: tuple[float, ...], name: str) -> Mark:
        """A new example of a class, which may be new too. Raises ValueError for a bad box or name."""
        return self._add(number, checked_box(box, self.size(number)), name, "accepted", "drawn", None)

    def accept(self, number: int, key: str) -> None:
        """A find becomes an example; a rejected box becomes one after all."""
        self._decide(number, key, "accepted")

    def reject(self, number: int, key: str) -> None:
        """A find, or an example that was accepted, becomes an example of what its class is not; a drawn box goes away."""
        self._decide(number, key, "rejected")

    def click(self, number: int, key: str) -> None:
        """The next verdict of a box: found, accepted, rejected, and found again. A drawn box is not rejected by a slip."""
        shown = self.at(number, key)
        if shown.verdict is None:
            self.accept(number, key)
        elif shown.source == "found":
            if shown.verdict == "accepted":
                self.reject(number, key)
            else:
                self.forget(number, key)

    def correct(self, number: int, key: str, box: tuple[float, ...]) -> None:
        """Gives a box other sides; a find is accepted by it."""
        shown, sides = self.at(number, key), checked_box(box, self.size(number))
        if shown.verdict is None:
            self._add(number, sides, shown.name, "accepted", "found", shown.score)
        else:
            mark = self.state.mark(int(key[1:]))
            self._change(self.state.with_changed(replace(mark, box=sides, verdict="accepted")))

    def name(self, number: int, key: str, name: str) -> None:
        """Gives a box another class; a find is accepted by it."""
        shown = self.at(number, key)
        if shown.verdict is None:
            self._add(number, shown.box, name, "accepted", "found", None)
        else:
            self.move(int(key[1:]), name)

    def move(self, mark: int, name: str) -> None:
        """Moves an example to another class."""
        self._change(self.state.with_changed(replace(self.state.mark(mark), name=checked_name(name), score=None)))

    def forget(self, number: int, key: str) -> None:
        """Takes a mark away, as if nobody had decided."""
        self.at(number, key)
        self.delete(int(key[1:]))

    def delete(self, mark: int) -> None:
        self._change(self.state.without_mark(mark))

    def undo(self) -> bool:
        """One step back; False where there is none."""
        with self._lock:
            if not self.project.undo():
                return False
        self._follow()
        return True

    def set_threshold(self, name: str, value: float | None) -> None:
        """None: follow the detector's own."""
        with self._lock:
            self.project.change(self.state.with_threshold(name, value))
        self._tell("thresholds", None)

    def add_class(self, name: str) -> None:
        """A class without an example yet."""
        self._change(self.state.with_class(name))

    def rename_class(self, old: str, new: str) -> None:
        self._change(self.state.renamed(old, new))

    def remove_class(self, name: str) -> None:
        self._change(self.state.without_class(name))

    def visit(self, number: int) -> None:
        """An image has come on the screen."""
        self.current = number
        self.finder.look_first(number)

    def leave(self, number: int) -> None:
        """Somebody has gone through an image and goes on."""
        with self._lock:
            self.project.look_through(self.names[number])
        self._tell("seen", number)

    def _decide(self, number: int, key: str, verdict: Verdict) -> None:
        shown = self.at(number, key)
        if shown.verdict is None:
            self._add(number, checked_box(shown.box, self.size(number)), shown.name, verdict, "found", shown.score)
        elif verdict == "rejected" and shown.source == "drawn":
            self.delete(int(key[1:]))
        else:
            self._change(self.state.with_changed(replace(self.state.mark(int(key[1:])), verdict=verdict)))

    def _add(self, number: int, box: Box, name: str, verdict: Verdict, source: Source, score: float | None) -> Mark:
        with self._lock:
            self.project.sizes[self.names[number]] = self.size(number)
            mark = Mark(self.project.new_number(), self.names[number], box, checked_name(name), verdict, source, score)
            self._change(self.state.with_mark(mark))
        return mark

    def _change(self, state: State) -> None:
        with self._lock:
            self.project.change(state)
        self._follow()

    def _follow(self) -> None:
        self.finder.learn(self._lessons())
        self._tell("marks", None)

    def _lessons(self) -> list[Lesson]:
        return lessons_of(self.state, self.paths)

    def _told(self, what: str, number: int | None) -> None:
        """From the finder's thread."""
        if what == "ready":
            self._begin_with(self.finder.known)
        elif what == "rest":
            finds = {self.names[n]: [(f.box, f.name, f.score) for f in self.finds(n)] for n in list(self.finder.finds)}
            for n in self.finder.finds:
                self.project.sizes.setdefault(self.names[n], self.size(n))
            self.project.write_finds(finds)
        self._tell(what, number)

    def _begin_with(self, classes: Sequence[str]) -> None:
        """The classes of the file that the detector was opened with are those of the project too."""
        with self._lock:
            state = self.state
            for name in classes:
                state = state.with_class(name)
            self.project.change(state)

    def _tell(self, what: str, number: int | None) -> None:
        for listener in list(self.listeners):
            listener(what, number)
