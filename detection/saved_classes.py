"""What a detector has learnt from a support set, by any method of scoring, and the small file that keeps it for later calls.

Shapes: N classes, n detections, S support embeddings, e embedding dimensions.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from repmet.detection.classes_file import FIRST_FORMAT, FORMAT, check_replaceable
from repmet.detection.embedding.embedded_image import EmbeddedImage, at_proposals
from repmet.detection.looking import Found
from repmet.detection.metrics.iou import pairwise_iou
from repmet.detection.scoring.calibration import PLAIN_THRESHOLD, UNKNOWN_IOU, Calibration
from repmet.detection.scoring.class_scores import padded
from repmet.detection.scoring.detections import Detections
from repmet.detection.scoring.nearest import NearestRepresentative
from repmet.detection.scoring.representatives import episode_representatives
from repmet.detection.scoring.rule import FewShotRule
from repmet.detection.scoring.scorer import ClassScorer, restored
from repmet.detection.scoring.suppression import after_nms
from repmet.errors import UserError
from repmet.experiments.running.checkpoints import load_checkpoint, save_checkpoint
from repmet.model_definitions.representatives import squared_distances
from repmet.model_definitions.roi_layers import nms

SPACE = "repmet"  # of the support embeddings, in which the support nearest to a detection is looked for


@dataclass(frozen=True, kw_only=True, eq=False)
class SavedClasses:
    """What `detection.few_shot_detector.FewShotDetector.learn` keeps.

    Attributes:
        classes: N names.
        scorer: what the method has learnt.
        embeddings, labels: of every support embedding, (S, e) and (S,).
        boxes: (S,) int64, the number of the support box of each embedding.
        crops: (S, h, w, 3) uint8, pictures of the supports.
        weights: by name, what fine-tuning has changed of the detector.
        calibration: makes probabilities of the scores, with a threshold for each class; None: the scores stay as they are.
        tile: side of the tiles in pixels that supports were cut to and images are to be (`detection.tiles`); None for none.
    """

    classes: tuple[str, ...]
    scorer: ClassScorer
    embeddings: Tensor
    labels: Tensor
    boxes: Tensor
    crops: Tensor
    weights: dict[str, Tensor]
    calibration: Calibration | None = None
    tile: int | None = None

    @property
    def thresholds(self) -> np.ndarray:
        """(N,), the score from which on a find is one of its class."""
        if self.calibration is None:
            return np.full(len(self.classes), PLAIN_THRESHOLD)
        return np.array(self.calibration.thresholds)

    def detect(self, image: EmbeddedImage, least: np.ndarray | None = None, *, unknown: bool = False) -> Found:
        """What is found in an image, and the number of the support of its class that each detection resembles most.

        What cannot come to its class's least score is not looked at further, so that many classes cost little.

        Args:
            least: (N,) or more, by class the score from which on finds are given; None: all.
            unknown: with the objects that belong to no class, under the number N.
        """
        image = self.scorer.placed(image)
        floor = None if least is None else self._raw(np.minimum(least[: len(self.classes)], self.thresholds))
        hopeful = image if floor is None else _hopeful(image, self.scorer.rule, floor)
        ((detections, proposals),) = after_nms([hopeful], self.scorer.scores(hopeful), self.scorer.rule, floor)
        if self.calibration is not None:
            detections = replace(detections, scores=self.calibration(detections.scores, detections.labels))
        nearest = self._nearest(hopeful.embeddings[SPACE][proposals], detections.labels)
        if not unknown:
            return detections, nearest
        sure = detections[detections.scores >= self.thresholds[detections.labels]]
        others = unknown_objects(image, sure.boxes, len(self.classes), self.scorer.rule.nms)
        both = (np.concatenate([getattr(detections, name), getattr(others, name)]) for name in ("boxes", "scores", "labels"))
        return Detections(*both), np.concatenate([nearest, np.full(len(others), -1)])

    def _raw(self, scores: np.ndarray) -> Tensor:
        """Scores (N,) as what the scorer reports, a little less than that: rounding is not to lose a find."""
        raw = scores if self.calibration is None else self.calibration.raw(scores)
        return torch.from_numpy(np.asarray(raw, np.float32) * (1 - 1e-4))

    def _nearest(self, embeddings: Tensor, labels: np.ndarray) -> np.ndarray:
        """Of embeddings (n, e) of classes (n,) the numbers of the nearest supports of their classes, (n,)."""
        nearest = np.zeros(len(labels), np.int64)
        for c in np.unique(labels):
            rows, supports = np.flatnonzero(labels == c), (self.labels == int(c)).nonzero()[:, 0]
            first, last = int(supports[0]), int(supports[-1]) + 1
            together = last - first == len(supports)  # as a rule: then nothing is copied
            points = self.embeddings[first:last] if together else self.embeddings[supports]
            d2 = squared_distances(embeddings[rows], points[:, None])[..., 0]  # (n_c, S_c)
            nearest[rows] = supports[d2.argmin(1)].numpy()
        return nearest

    def with_supports(self, more: "SavedClasses") -> "SavedClasses":
        """With the pictures and embeddings of another one's supports, what the method has learnt staying as it is."""
        classes = tuple(dict.fromkeys([*self.classes, *more.classes]))
        numbers = torch.tensor([classes.index(name) for name in more.classes])
        return replace(
            self,
            classes=classes,
            embeddings=torch.cat([self.embeddings, more.embeddings]),
            labels=torch.cat([self.labels, numbers[more.labels]]),
            boxes=torch.cat([self.boxes, more.boxes + int(self.boxes.max()) + 1]),
            crops=torch.cat([self.crops, more.crops]),
        )

    def joined(self, more: "SavedClasses") -> "SavedClasses":
        """With the supports of another one added, classes of the same name being one; for a `NearestRepresentative`.

        A class that gets no support keeps its representatives, bit for bit.
        """
        both = self.with_supports(more)
        numbers = [both.classes.index(name) for name in more.classes]
        rule = self.scorer.rule
        shots = [len(both.boxes[both.labels == c].unique()) for c in range(len(both.classes))]
        points = list(self.scorer.representatives) + [None] * (len(both.classes) - len(self.classes))
        for c in numbers:
            points[c] = episode_representatives([[both.embeddings[both.labels == c]]], rule.modes_for(max(shots)))[0]
        added = len(both.classes) - len(self.classes)
        calibration = self.calibration and self.calibration.with_more(added)
        return replace(both, scorer=replace(self.scorer, representatives=padded(points)), calibration=calibration)

    def without(self, number: int) -> "SavedClasses":
        """Without a class and its supports; for a `NearestRepresentative`."""
        kept = self.labels != number
        return replace(
            self,
            classes=self.classes[:number] + self.classes[number + 1 :],
            scorer=self.scorer.without(number),
            calibration=self.calibration and self.calibration.without(number),
            embeddings=self.embeddings[kept],
            labels=self.labels[kept] - (self.labels[kept] > number).long(),
            boxes=self.boxes[kept],
            crops=self.crops[kept],
        )

    def renamed(self, number: int, name: str) -> "SavedClasses":
        """With another name for a class."""
        return replace(self, classes=(*self.classes[:number], name, *self.classes[number + 1 :]))


def _hopeful(image: EmbeddedImage, rule: FewShotRule, floor: Tensor) -> EmbeddedImage:
    """The image's proposals whose objectness leaves a score of some class's floor (N,) within reach."""
    if not rule.objectness or not len(floor):
        return image
    return at_proposals(image, (image.objectness**rule.objectness >= floor.min()).nonzero()[:, 0])


def unknown_objects(image: EmbeddedImage, known: np.ndarray, number: int, nms_iou: float) -> Detections:
    """Boxes that look like objects and that no find of a class overlaps, with their objectness as score.

    Args:
        known: (n, 4), finds that belong to a class.
        number: the label of what belongs to none.
    """
    boxes = image.boxes.numpy()
    free = pairwise_iou(boxes, known).max(1, initial=0.0) < UNKNOWN_IOU
    kept = nms(image.boxes[free], image.objectness[free], nms_iou).numpy()
    scores = image.objectness[free].numpy()[kept]
    return Detections(boxes[free][kept], scores, np.full(len(kept), number))


def write_classes(learnt: SavedClasses, digest: str, path: str | Path) -> None:
    """Writes it with the digest of the weights that it fits; tensors and plain values, whole or not at all."""
    check_replaceable(path)
    calibration = learnt.calibration and asdict(learnt.calibration)
    kept = {f.name: getattr(learnt, f.name) for f in fields(SavedClasses)}
    kept |= {"scorer": learnt.scorer.state(), "calibration": calibration}
    save_checkpoint({"format": FORMAT, "detector": digest, **kept}, path)


def read_classes(
    path: str | Path, digest: str, checkpoint: str | Path, base: Callable[[FewShotRule], Tensor | None]
) -> SavedClasses:
    """Reads what `write_classes` wrote, and files of the first format.

    Args:
        path: the file.
        digest: of the weights of the detector that asks.
        checkpoint: that detector's, for the message.
        base: the base classes' representatives where a rule lets them compete; the first format does not hold them.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no such file, or was made with another checkpoint.
    """
    kept = load_checkpoint(path)
    if kept.get("format") not in (FORMAT, FIRST_FORMAT):
        raise UserError(f"{path}: not a file of representatives ({FORMAT}); make one by --support DIR --save {path}")
    if kept.get("detector") != digest:
        raise UserError(
            f"{path}: was made with another checkpoint than {checkpoint}, whose embedding it does not fit; "
            "use that one, or learn from the support images again"
        )
    try:
        if kept["format"] == FIRST_FORMAT:
            rule = FewShotRule(**kept["rule"])
            scorer = NearestRepresentative(rule=rule, representatives=kept["representatives"], base=base(rule))
            kept["boxes"] = torch.arange(len(kept["labels"]))
        else:
            scorer = restored(kept["scorer"])
        calibration = kept.get("calibration") and Calibration(**kept["calibration"])  # files of before have none
        values = {f.name: kept[f.name] for f in fields(SavedClasses) if f.name not in ("scorer", "calibration", "tile")}
        values["tile"] = kept.get("tile")
        return SavedClasses(**values | {"classes": tuple(values["classes"])}, scorer=scorer, calibration=calibration)
    except (KeyError, TypeError) as error:
        raise UserError(f"{path}: damaged, {error} is missing or not what it should be; make it anew") from None
