"""What somebody does to the classes that a detector was shown: add, remove, rename, accept and reject finds, undo.

Shapes: N classes, P proposals of an image, V views.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from repmet.data.readers.class_name import check_class_names
from repmet.detection.embedding.embedded_image import as_annotated
from repmet.detection.embedding.embedder import Embedder
from repmet.detection.episodes.marked_images import read_marks
from repmet.detection.learning import embedded_supports, saved_classes, taught
from repmet.detection.metrics.iou import pairwise_iou
from repmet.detection.saved_classes import SavedClasses
from repmet.detection.scoring.last_word import without_contradicted
from repmet.detection.scoring.logistic import LogisticRegression, regions_of
from repmet.detection.scoring.methods import Method
from repmet.detection.scoring.nearest import NearestRepresentative
from repmet.detection.scoring.representatives import SupportSet
from repmet.detection.scoring.rule import FewShotRule
from repmet.detection.scoring.training_rows import REGION_IOU, STEPS_BACK
from repmet.detection.tiles import cut_out
from repmet.errors import UserError


class EditsClasses:
    """The part of `FewShotDetector` that changes what was learnt. After an error everything is as it was before the call."""

    learnt: SavedClasses | None
    _supports: SupportSet | None  # what the method learnt from; none after `load`
    _history: list[tuple[SavedClasses | None, SupportSet | None]]
    method: str
    embedder: Embedder
    classes: tuple[str, ...]
    learn: Callable[..., Any]
    _method: Callable[[FewShotRule], Method]

    def add(self, name: str, marks: Iterable[tuple[Any, Any]]) -> "EditsClasses":
        """Adds a class, or supports to one that is there. Representatives of the other classes stay as they are; a method
        that learns all classes together learns them anew.

        Args:
            name: of the class.
            marks: pairs (image, box), as in `learn`.

        Raises:
            As `learn`; ValueError: what was loaded from a file by a method that needs the support images to go on.
        """
        if self.learnt is None:
            self.learn({name: marks})
            self._history = [(None, None)]
            return self
        more = embedded_supports(
            cut_out(read_marks({name: marks}), self.learnt.tile), self.embedder, self.learnt.scorer.rule
        )
        self._joined(more)
        return self

    def remove(self, name: str) -> "EditsClasses":
        """Forgets a class.

        Raises:
            ValueError: there is no such class among the learnt ones, or no other.
        """
        number = self._number(name)
        if len(self.classes) == 1:
            raise UserError(f"{name!r} is the only class that was learnt; learn or add others first")
        if self._by_class:
            self._become(self.learnt.without(number), self._supports)
        else:
            self._learn_again(lambda supports: supports.without(name))
        return self

    def rename(self, name: str, new: str) -> "EditsClasses":
        """Gives a class another name.

        Raises:
            ValueError: there is no such class among the learnt ones; the new name is another class's, or none.
        """
        number = self._number(name)
        check_class_names([new])
        if new != name:
            if new in self.classes:
                raise UserError(f"{new!r} is the name of another class")
            supports = None if self._supports is None else self._supports.renamed(name, new)
            self._become(self.learnt.renamed(number, new), supports)
        return self

    # --- corrections -------------------------------------------------------------------------------------------------------

    def accept(self, image: Any, box: Any, name: str) -> "EditsClasses":
        """Says that a find is right, or where an object is: the box becomes a support of the class.

        Where a proposal of the image is this box, as of every find, no network runs on an image that was looked at lately.
        The other classes' scores come from the same weights or representatives as before, bit for bit.

        Args:
            image: as in `detect`, one image.
            box: x1, y1, x2, y2 in its pixels.
            name: of the class, which may be new.

        Raises:
            As `add`.
        """
        if self.learnt is None:
            return self.add(name, [(image, box)])
        more = self._region(image, box, name, rejected=False)
        if name not in self.classes or self._by_class or self._contradicted(more):
            self._joined(more)
        else:
            self._correct(more, name)
        return self

    def reject(self, image: Any, box: Any, name: str) -> "EditsClasses":
        """Says that a find is wrong: the box is no object of the class, and what looks like it is less so from now on.

        Args:
            image, box: as in `accept`.
            name: of the class that was found there.

        Raises:
            ValueError: there is no such class among the learnt ones; from the marks; after `load`, a method that needs the
                support images to go on.
        """
        number = self._number(name)
        more = self._region(image, box, name, rejected=True)
        if self._by_class:
            scorer = self.learnt.scorer
            ((image_id, place),) = more.rejected[0]
            scorer = scorer.rejecting(more.embedded[image_id].annotated[scorer.space][place][None], number)
            self._become(replace(self.learnt, scorer=scorer), self._supports)
        elif self._contradicted(more):
            self._joined(more)
        else:
            self._correct(more, name)
        return self

    def undo(self) -> "EditsClasses":
        """Takes back the last `accept`, `reject`, `add`, `remove` or `rename` since `learn` or `load`; at most `STEPS_BACK`.

        Raises:
            ValueError: there is none, or none that is kept.
        """
        if not self._history:
            raise UserError("there is nothing to undo since the classes were learnt or loaded")
        self.learnt, self._supports = self._history.pop()
        return self

    # --- how ---------------------------------------------------------------------------------------------------------------

    @property
    def _by_class(self) -> bool:
        """Whether each class has representatives of its own, which change without the others'."""
        return isinstance(self.learnt.scorer, NearestRepresentative)

    def _become(self, learnt: SavedClasses, supports: SupportSet | None) -> None:
        self._history = [*self._history, (self.learnt, self._supports)][-STEPS_BACK:]
        self.learnt, self._supports = learnt, supports

    def _joined(self, more: SupportSet) -> None:
        """Adds supports, or rejected regions in the place of supports."""
        if self._by_class:
            self._become(self.learnt.joined(saved_classes(more, self.learnt.scorer)), self._supports)
        else:
            self._learn_again(lambda supports: without_contradicted(supports, more).joined(more))

    def _learn_again(self, change: Callable[[SupportSet], SupportSet]) -> None:
        """Changes the supports of a method that learns all classes together."""
        supports = change(self._kept_supports())
        learnt = replace(taught(supports, self._method(self.learnt.scorer.rule)), tile=self.learnt.tile)
        self._become(learnt, supports)

    def _kept_supports(self) -> SupportSet:
        if self._supports is None:
            raise UserError(
                f"{self.method} learns all classes together from their images, and what was loaded holds none; learn from "
                "the support images again"
            )
        return self._supports

    def _correct(self, more: SupportSet, name: str) -> None:
        """Moves one class alone."""
        supports = self._kept_supports()
        scorer, number = self.learnt.scorer, self.classes.index(name)
        if not isinstance(scorer, LogisticRegression):
            return self._learn_again(lambda supports: supports.joined(more))
        (image_id,) = more.records
        regions = regions_of(more, image_id)
        scorer = scorer.corrected(replace(regions, labels=np.full(len(regions.labels), number)), number)
        learnt = replace(self.learnt, scorer=scorer)
        if more.by_image:  # a support
            shown = saved_classes(more, scorer)
            learnt = learnt.with_supports(replace(shown, classes=(name,)))
        return self._become(learnt, supports.joined(more))

    def _contradicted(self, more: SupportSet) -> bool:
        """Whether a region was said to be the opposite, or something else, before."""
        return self._supports is not None and without_contradicted(self._supports, more) is not self._supports

    def _number(self, name: str) -> int:
        if self.learnt is None or name not in self.learnt.classes:
            there = ", ".join(self.learnt.classes) if self.learnt else "none"
            raise UserError(f"there is no class {name!r} among the learnt ones; there are: {there}")
        return self.learnt.classes.index(name)

    def _region(self, image: Any, box: Any, name: str, *, rejected: bool) -> SupportSet:
        """One box of one image as a support or a rejection, by the proposal that it is or else by the network."""
        (record,) = cut_out(read_marks({name: [(image, box)]}), self.learnt.tile)
        rule = self.learnt.scorer.rule
        bare = replace(record, names=(), boxes=np.zeros((0, 4), np.float32), difficult=np.zeros(0, bool))
        seen = self.embedder([bare])[bare.id]
        iou = pairwise_iou(record.boxes, seen.boxes.numpy())[0]  # (P,)
        if iou.max(initial=0.0) >= REGION_IOU:
            seen = as_annotated(seen, int(iou.argmax()), len(rule.other_looks))
        else:
            seen = embedded_supports([record], self.embedder, rule).embedded[record.id]
        place = [[(record.id, 0)]]
        boxes, refused = ([[]], place) if rejected else (place, ())
        return SupportSet((name.strip(),), boxes, {record.id: record}, {record.id: seen}, refused)
