"""What there is to see on a page: the marks and the finds together, what to expect of them, and where to look next."""

from __future__ import annotations

from dataclasses import dataclass

from repmet.errors import UserError
from repmet.page.finder import Finder
from repmet.page.finds import SAME, Estimate, Find, estimate, expected_mistakes, undecided
from repmet.page.gallery import Gallery
from repmet.page.marks import Box, Mark, Source, State, Verdict, overlap
from repmet.page.project import Project

START = 0.5  # threshold of a class for which the detector has none yet


@dataclass(frozen=True)
class Shown:
    """A box as it is shown on an image.

    Attributes:
        key: `m7` for mark 7; of a find its class and place, which hold while other marks change its score.
        verdict: None of a find that nobody has decided on.
    """

    key: str
    box: Box
    name: str
    verdict: Verdict | None
    source: Source
    score: float | None


class View:
    """The part of a `Session` that only looks.

    Attributes:
        names, numbers: of the images in the project, and the other way round.
    """

    gallery: Gallery
    project: Project
    finder: Finder
    names: list[str]
    numbers: dict[str, int]
    _sizes: dict[int, tuple[int, int]]
    _open_finds: dict[int, tuple[list[Find], list[Mark], list[Find]]]

    @property
    def state(self) -> State:
        return self.project.state

    def size(self, number: int) -> tuple[int, int]:
        """Of an image, in pixels. Raises ValueError where it cannot be read."""
        if number not in self._sizes:
            self._sizes[number] = self.gallery.size(number)
        return self._sizes[number]

    def threshold(self, name: str) -> float:
        """Of a class: where the slider was moved to, else the detector's own."""
        return self.state.thresholds.get(name, self.automatic(name))

    def automatic(self, name: str) -> float:
        return self.finder.thresholds.get(name, START)

    def finds(self, number: int) -> list[Find]:
        """What was found in an image, without what is decided; best first, also below the thresholds."""
        all_finds, marks = self.finder.finds.get(number, []), self.state.of_image(self.names[number])
        kept = self._open_finds.get(number)
        if kept is None or kept[0] is not all_finds or kept[1] != marks:
            kept = self._open_finds[number] = (all_finds, marks, undecided(all_finds, marks))
        return [find for find in kept[2] if find.name in self.state.classes]

    def shown(self, number: int) -> list[Shown]:
        """The boxes on an image: its marks, and the finds from their class's threshold on."""
        marks = [
            Shown(f"m{mark.number}", mark.box, mark.name, mark.verdict, mark.source, mark.score)
            for mark in self.state.of_image(self.names[number])
        ]
        finds = [
            Shown(key_of(find), find.box, find.name, None, "found", find.score)
            for find in self.finds(number)
            if find.score >= self.threshold(find.name)
        ]
        return marks + finds

    def estimates(self) -> dict[str, Estimate]:
        """By class, what to expect at its threshold, from the images that were looked at."""
        by_class: dict[str, list[Find]] = {name: [] for name in self.state.classes}
        for number in list(self.finder.finds):
            for find in self.finds(number):
                by_class[find.name].append(find)
        return {
            name: estimate(finds, len(self.state.of_class(name)), self.threshold(name)) for name, finds in by_class.items()
        }

    def worth(self, number: int) -> float:
        """The mistakes that are expected to be shown on an image."""
        return expected_mistakes(self.finds(number), self.threshold)

    def order(self, *, promising: bool = False) -> list[int]:
        """The images as the strip shows them: by name, or those first on which the surest undecided find is surest."""
        numbers = list(range(len(self.names)))
        if not promising:
            return numbers
        best = {number: max((find.score for find in self.finds(number)), default=0.0) for number in numbers}
        return sorted(numbers, key=lambda number: -best[number])

    def next_worth(self, number: int) -> int | None:
        """The image that is worth most to look at after this one; None where all were gone through and nothing is left.

        Of those that nobody has gone through, the one with most expected mistakes, else the next one that is not looked at
        yet; then, of the others, those with finds that nobody has decided on.
        """
        others = [*range(number + 1, len(self.gallery)), *range(number)]
        others = [other for other in others if other not in self.finder.unreadable]
        unseen = [other for other in others if self.names[other] not in self.project.seen]
        if unseen:
            best = max(unseen, key=self.worth)  # the first of equals
            return best
        best = max(others, key=self.worth, default=number)
        return best if best != number and any(find.score >= self.threshold(find.name) for find in self.finds(best)) else None

    def odd(self, mark: Mark) -> str | None:
        """Why an example may be a mistake: what the detector, which has seen it, says of its place; else None."""
        number = self.numbers.get(mark.image)
        if number is None or not self.finder.fresh(number):
            return None
        there = [find for find in self.finder.finds.get(number, []) if overlap(find.box, mark.box) >= SAME]
        if not there:
            return None
        best = max(there, key=lambda find: find.score)
        if best.name != mark.name:
            return f"looks more like {best.name}"
        return "looks unlike the others" if best.score < self.automatic(mark.name) else None

    def at(self, number: int, key: str) -> Shown:
        """The box of a key. Raises ValueError where it is gone."""
        for shown in self.shown(number):
            if shown.key == key:
                return shown
        raise UserError("this box has changed in the meantime; look again")


def key_of(find: Find) -> str:
    """Of a find, for `Shown`."""
    return f"f{'_'.join(f'{side:.0f}' for side in find.box)}_{find.name}"
