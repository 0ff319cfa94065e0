"""What an exported detector has learnt, as arrays; and the file of it, which torch's detector reads and writes too."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from repmet.data.files.torch_file import read_torch_file, write_torch_file
from repmet.detection.classes_file import FORMAT, check_replaceable
from repmet.detection.exported.look import Seen
from repmet.detection.exported.suppression import class_nms
from repmet.detection.metrics.iou import pairwise_iou
from repmet.detection.scoring.box_refinement import moved
from repmet.detection.scoring.calibration import PLAIN_THRESHOLD, UNKNOWN_IOU, Calibration
from repmet.detection.scoring.detections import Detections
from repmet.detection.scoring.rule import FewShotRule
from repmet.errors import UserError

if TYPE_CHECKING:
    from repmet.detection.scoring.span_fit import Span
    from repmet.detection.scoring.training_rows import Rows
    from repmet.runtime.supports import Supports

Floats = NDArray[np.float32]
SCORER = "LogisticRegression"


@dataclass(frozen=True, eq=False, kw_only=True)
class KnownClasses:
    """The classes, a logistic regression on embeddings that tells them apart, and pictures of what showed them.

    Attributes:
        classes: N names.
        rule: by which it was learnt and detections are made.
        weight, bias: (N + 1, f) and (N + 1,), the background last.
        calibration: makes probabilities of the scores, with a threshold for each class; None: the scores stay as they are.
        embeddings, labels, boxes: (S, f), (S,) and (S,), of every support embedding, its class and the number of its box.
        crops: (S, h, w, 3) uint8, pictures of the supports.
        box_layer: (f + 1, 4), moves the boxes (`detection.scoring.box_refinement`); None: they stay where they are.
        tile: side of the tiles in pixels that supports were cut to and images are to be (`detection.tiles`); None for none.
    """

    classes: tuple[str, ...]
    rule: FewShotRule
    weight: Floats
    bias: Floats
    calibration: Calibration | None
    embeddings: Floats
    labels: NDArray[np.int64]
    boxes: NDArray[np.int64]
    crops: NDArray[np.uint8]
    box_layer: Floats | None = None
    tile: int | None = None

    @property
    def thresholds(self) -> NDArray[np.float64]:
        """(N,), the score from which on a find is one of its class."""
        if self.calibration is None:
            return np.full(len(self.classes), PLAIN_THRESHOLD)
        return np.array(self.calibration.thresholds)

    def detect(
        self, seen: Seen, least: NDArray[np.float64], *, unknown: bool = False
    ) -> tuple[Detections, NDArray[np.int64]]:
        """What is found in an image, and the number of the support of its class that each detection resembles most.

        Args:
            least: (N,) or with unknown objects (N + 1,), by class the score from which on finds are given.
            unknown: with the objects that belong to no class, under the number N; -1 for the nearest support.
        """
        if self.box_layer is not None:
            seen = replace(seen, boxes=moved(seen.boxes, seen.embeddings, self.box_layer))
        scores = self.rule.reported(softmax(seen.embeddings @ self.weight.T + self.bias)[:, :-1], seen.objectness)
        rows, labels = class_nms(seen.boxes, scores, self.rule.nms)
        values = scores[rows, labels]
        if self.calibration is not None:
            values = self.calibration(values, labels)
        above, sure = values >= least[labels], values >= self.thresholds[labels]
        alike = seen.embeddings @ self.embeddings.T  # (P, S); of unit vectors the nearest is that of the largest product
        of_class = self.labels[None] == labels[above, None]
        nearest = np.where(of_class, alike[rows[above]], -np.inf).argmax(1) if above.any() else labels[above]
        known = Detections(seen.boxes[rows[above]], values[above], labels[above])
        if not unknown:
            return known, nearest
        others = unknown_objects(seen, seen.boxes[rows[sure]], len(self.classes), self.rule.nms)
        others = others[others.scores >= least[-1]]
        both = (np.concatenate([getattr(known, name), getattr(others, name)]) for name in ("boxes", "scores", "labels"))
        return Detections(*both), np.concatenate([nearest, np.full(len(others), -1)])

    def renamed(self, name: str, new: str) -> KnownClasses:
        """With another name for a class."""
        return replace(self, classes=tuple(new if c == name else c for c in self.classes))


@dataclass(frozen=True, eq=False)
class Taught:
    """What is known, and what it was learnt from: None after `load`.

    Attributes:
        rows, span: that the classifier was fitted to, for corrections.
    """

    known: KnownClasses
    supports: Supports | None = None
    rows: Rows | None = None
    span: Span | None = None


def softmax(logits: Floats) -> Floats:
    """Along the rows."""
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def unknown_objects(seen: Seen, known: Floats, number: int, nms: float) -> Detections:
    """Boxes that look like objects and that no find of a class overlaps, with their objectness as score.

    Args:
        known: (n, 4), finds that belong to a class.
        number: the label of what belongs to none.
    """
    free = pairwise_iou(seen.boxes, known).max(1, initial=0.0) < UNKNOWN_IOU
    boxes, scores = seen.boxes[free], seen.objectness[free]
    kept, _ = class_nms(boxes, scores[:, None], nms)
    return Detections(boxes[kept], scores[kept], np.full(len(kept), number))


def write_known(known: KnownClasses, digest: str, path: str | Path) -> None:
    """Writes the classes with the digest of the weights that they fit, whole or not at all."""
    check_replaceable(path)
    layers = {name: getattr(known, name) for name in ("weight", "bias", "box_layer")}
    scorer = {"kind": SCORER, "rule": asdict(known.rule), **layers}
    kept = {name: getattr(known, name) for name in ("classes", "embeddings", "labels", "boxes", "crops", "tile")}
    calibration = known.calibration and asdict(known.calibration)
    write_torch_file(
        {"format": FORMAT, "detector": digest, **kept, "scorer": scorer, "weights": {}, "calibration": calibration}, path
    )


def read_known(path: str | Path, digest: str, folder: str | Path) -> KnownClasses:
    """Reads what `write_known` or torch's detector wrote.

    Args:
        path: the file.
        digest: of the weights that the detector in `folder` was made of.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no such file, was learnt by another method, or with another checkpoint.
    """
    kept = read_torch_file(path)
    if not isinstance(kept, dict) or kept.get("format") != FORMAT:
        raise UserError(f"{path}: not a file of learnt classes ({FORMAT}); `repmet detect --save` and `save` write one")
    if kept.get("detector") != digest:
        raise UserError(
            f"{path}: was made with another checkpoint than {folder}, whose embedding it does not fit; export that one, or "
            "learn from the support images again"
        )
    try:
        scorer: dict[str, Any] = kept["scorer"]
        if scorer["kind"] != SCORER or kept["weights"]:
            how = "fine-tuned" if kept["weights"] else f"learnt by {scorer['kind']}"
            raise UserError(f"{path}: its classes were {how}; an exported detector knows {SCORER} alone")
        arrays = {name: kept[name] for name in ("embeddings", "labels", "boxes", "crops")}
        calibration = Calibration(**kept["calibration"]) if kept.get("calibration") else None
        return KnownClasses(
            classes=tuple(kept["classes"]),
            rule=FewShotRule(**scorer["rule"]),
            weight=scorer["weight"],
            bias=scorer["bias"],
            box_layer=scorer.get("box_layer"),
            calibration=calibration,
            tile=kept.get("tile"),
            **arrays,
        )
    except (KeyError, TypeError) as error:
        raise UserError(f"{path}: damaged, {error} is missing or not what it should be; make it anew") from None
