"""`FewShotDetector` without torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from repmet.data.readers.class_name import check_class_names
from repmet.data.readers.voc_annotation import ImageRecord
from repmet.detection.episodes.marked_images import Marks, read_marks
from repmet.detection.episodes.marked_records import marked_records
from repmet.detection.exported.look import ExportedDetector
from repmet.detection.scoring.rule import FewShotRule
from repmet.detection.scoring.training_rows import STEPS_BACK
from repmet.detection.tiles import OFF, check_tile, cut_out, tile_side
from repmet.errors import UserError
from repmet.runtime.detecting import DetectsByGraph
from repmet.runtime.known_classes import Taught, read_known, write_known
from repmet.runtime.supports import Supports, corrected_region, shown


class FewShotDetector(DetectsByGraph):
    """The exported detector: its face is that of `detection.few_shot_detector.FewShotDetector`, its results are the same.

    What fails changes nothing: after an error, detector and classes are as they were before the call.

    Args:
        folder: that `repmet export` wrote.
        runtime: `onnxruntime`, `openvino`, or `auto`: OpenVINO for its own files, else what is there, ONNX Runtime first.
        tile, marks: as of `detection.few_shot_detector.FewShotDetector`.
        threads: at most so many; None: as many as the runtime finds cores.

    Raises:
        FileNotFoundError: no such folder, or a file of it is missing.
        ValueError: a file is damaged, or no such runtime. MissingPackage: it is not installed.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        runtime: str = "auto",
        tile: str | int = OFF,
        marks: str | None = None,
        threads: int | None = None,
    ) -> None:
        self.tile = check_tile(tile)
        self.folder = Path(folder)
        self.exported = ExportedDetector(folder, runtime, threads)
        self.facts, self.runtime = self.exported.facts, self.exported.runtime
        self._marks = marks
        self._rule()  # it may refuse
        self._taught: Taught | None = None
        self._history: list[Taught | None] = []

    @property
    def tile_side(self) -> int | None:
        """Side in pixels of the tiles that large images are cut into (`detection.tiles`); None for no tiles."""
        return self._taught.known.tile if self._taught else None

    # --- classes -----------------------------------------------------------------------------------------------------------

    def learn(self, support: str | Path | Marks) -> FewShotDetector:
        """Takes the classes of a support set in the place of those before.

        Args:
            support: what shows the classes, see `detection.episodes.marked_records.marked_records`.

        Raises:
            FileNotFoundError, ValueError, TypeError: there is no such set, or what is wrong with it.
        """
        supports, tile = self._shown(marked_records(support))
        self._taught, self._history = _learnt(supports, self._rule(), tile), []
        return self

    def add(self, name: str, marks: Iterable[tuple[Any, Any]]) -> FewShotDetector:
        """Adds a class, or supports to one that is there; all classes are learnt anew.

        Args:
            name: of the class.
            marks: pairs (image, box), as in `learn`.

        Raises:
            As `learn`; ValueError: after `load`, as a file holds no support images.
        """
        records = read_marks({name: marks})
        if self._taught is None:
            supports, tile = self._shown(records)
            return self._become(_learnt(supports, self._rule(), tile))
        return self._joined(shown(cut_out(records, self._taught.known.tile), self.exported))

    def remove(self, name: str) -> FewShotDetector:
        """Forgets a class.

        Raises:
            ValueError: there is no such class among the learnt ones, or no other; after `load`.
        """
        taught, _ = self._known(name)
        if len(self.classes) == 1:
            raise UserError(f"{name!r} is the only class that was learnt; learn or add others first")
        return self._become(_learnt(self._supports(taught).without(name), taught.known.rule, taught.known.tile))

    def rename(self, name: str, new: str) -> FewShotDetector:
        """Gives a class another name.

        Raises:
            ValueError: there is no such class among the learnt ones; the new name is another class's, or none.
        """
        taught, _ = self._known(name)
        check_class_names([new])
        if new in self.classes and new != name:
            raise UserError(f"{new!r} is the name of another class")
        supports = taught.supports and taught.supports.renamed(name, new)
        return self._become(replace(taught, known=taught.known.renamed(name, new), supports=supports))

    def accept(self, image: Any, box: Any, name: str) -> FewShotDetector:
        """Says that a find is right, or where an object is: the box becomes a support of the class.

        The other classes' scores stay as they are, bit for bit, unless the region was said to be something else before.

        Args:
            image: as in `detect`, one image.
            box: x1, y1, x2, y2 in its pixels.
            name: of the class, which may be new.

        Raises:
            As `add`.
        """
        if self._taught is None:
            return self.add(name, [(image, box)])
        return self._corrected(image, box, name, rejected=False)

    def reject(self, image: Any, box: Any, name: str) -> FewShotDetector:
        """Says that a find is wrong: the box is no object of the class, and what looks like it is less so from now on.

        Args:
            image, box: as in `accept`.
            name: of the class that was found there.

        Raises:
            ValueError: there is no such class among the learnt ones; from the marks; after `load`.
        """
        self._known(name)
        return self._corrected(image, box, name, rejected=True)

    def undo(self) -> FewShotDetector:
        """Takes back the last `accept`, `reject`, `add`, `remove` or `rename` since `learn` or `load`; at most
        `STEPS_BACK`.

        Raises:
            ValueError: there is none, or none that is kept.
        """
        if not self._history:
            raise UserError("there is nothing to undo since the classes were learnt or loaded")
        self._taught = self._history.pop()
        return self

    def save(self, path: str | Path) -> None:
        """Writes what was learnt, as the detector in torch writes and reads it.

        Raises:
            ValueError: nothing was learnt.
        """
        if self._taught is None:
            raise UserError("there is nothing to save: learn from a support set first")
        write_known(self._taught.known, self.facts.detector, path)

    def load(self, path: str | Path) -> FewShotDetector:
        """Takes what `save` wrote, here or in torch, in the place of a support set.

        Raises:
            FileNotFoundError: no such file.
            ValueError: it is no such file, was made with another checkpoint, or learnt by another method.
        """
        self._taught, self._history = Taught(read_known(path, self.facts.detector, self.folder)), []
        return self

    def _rule(self) -> FewShotRule:
        return self.facts.rule if self._marks is None else replace(self.facts.rule, marks=self._marks)

    def _shown(self, records: Sequence[ImageRecord]) -> tuple[Supports, int | None]:
        """Support images through the graph, and the side of the tiles that they and all images are to be cut into."""
        tile = tile_side(self.tile, records, self.facts.size)
        return shown(cut_out(records, tile), self.exported), tile

    def _known(self, name: str) -> tuple[Taught, int]:
        if self._taught is None or name not in self._taught.known.classes:
            there = ", ".join(self._taught.known.classes) if self._taught else "none"
            raise UserError(f"there is no class {name!r} among the learnt ones; there are: {there}")
        return self._taught, self._taught.known.classes.index(name)

    def _supports(self, taught: Taught) -> Supports:
        if taught.supports is None:
            raise UserError(
                f"{self.facts.method} learns all classes together from their images, and what was loaded holds none; learn "
                "from the support images again"
            )
        return taught.supports

    def _become(self, taught: Taught) -> FewShotDetector:
        self._history = [*self._history, self._taught][-STEPS_BACK:]
        self._taught = taught
        return self

    def _joined(self, more: Supports) -> FewShotDetector:
        """Learns all classes anew, with some more supports."""
        assert self._taught is not None
        known = self._taught.known
        return self._become(_learnt(self._supports(self._taught).joined(more), known.rule, known.tile))

    def _contradicted(self, taught: Taught, more: Supports) -> bool:
        supports = self._supports(taught)
        return supports.without_contradicted(more) is not supports

    def _corrected(self, image: Any, box: Any, name: str, *, rejected: bool) -> FewShotDetector:
        (record,) = cut_out(read_marks({name: [(image, box)]}), self.tile_side)
        more = Supports((record.names[0],), (corrected_region(record, self.exported, rejected=rejected),))
        taught = self._taught
        if taught is None or name not in self.classes or self._contradicted(taught, more):
            return self._joined(more)
        from repmet.runtime.learning import corrected

        return self._become(corrected(taught, more, self.classes.index(name)))


def _learnt(supports: Supports, rule: FewShotRule, tile: int | None) -> Taught:
    from repmet.runtime.learning import learnt  # here: scipy takes half a second, and what is learnt may be in a file

    taught = learnt(supports, rule)
    return replace(taught, known=replace(taught.known, tile=tile))
