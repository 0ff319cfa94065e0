"""What a detector says of its own supports: what is wrong with them, what to expect on new images, what to mark next.

Shapes: N classes, M marks, P proposals of an image, f features.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from repmet.data.readers.image_inputs import ImageInput, image_inputs
from repmet.detection.embedding.embedder import Embedder
from repmet.detection.episodes.open_image import OpenImage
from repmet.detection.metrics.iou import pairwise_iou
from repmet.detection.saved_classes import SavedClasses
from repmet.detection.scoring.calibration import HeldOutFinds
from repmet.detection.scoring.estimate import Estimate, estimates
from repmet.detection.scoring.held_out import HIT_IOU
from repmet.detection.scoring.logistic import LogisticRegression
from repmet.detection.scoring.next_image import doubt, most_doubtful, next_images
from repmet.detection.scoring.outliers import mark_features, outliers
from repmet.detection.scoring.representatives import SupportSet
from repmet.detection.scoring.thresholds import held_out
from repmet.errors import UserError

DUPLICATE = 0.98  # cosine of marks of two classes that show the same thing
ENOUGH = 0.02  # of F1: more marks that bring less are not worth it


@dataclass(frozen=True)
class SupportProblem:
    """One thing that may be wrong with a support.

    Attributes:
        kind: `unreached`, `outlier`, `duplicate` or `alike`.
        name: the class.
        image, box: where; None for `alike`, which is of two classes.
        said: the problem in one line.
    """

    kind: str
    name: str
    image: str | None
    box: tuple[float, ...] | None
    said: str


class ExaminesClasses:
    """The part of `FewShotDetector` that looks at the supports themselves; it changes nothing."""

    learnt: SavedClasses | None
    _supports: SupportSet | None
    embedder: Embedder
    method: str

    @property
    def supports(self) -> SupportSet:
        """What was learnt from.

        Raises:
            ValueError: nothing was learnt from images since the detector was made or loaded.
        """
        return self._examined()

    def check(self) -> list[SupportProblem]:
        """Supports that no proposal reaches, that look unlike their class, or like a mark of another one; classes that are
        taken for one another.

        Raises:
            ValueError: nothing was learnt from images since the detector was made or loaded.
        """
        supports = self._examined()
        marks = [(c, i, b) for c, pairs in enumerate(supports.boxes) for i, b in pairs]
        features, labels = mark_features(supports)  # (M, f), (M,)
        cosines = features @ features.T  # (M, M)
        resembled = outliers(features, labels)
        problems = []
        for m, (c, i, b) in enumerate(marks):
            box = tuple(map(float, supports.records[i].boxes[b]))

            def tell(kind: str, said: str, c: int = c, i: str = i, box: tuple[float, ...] = box) -> None:
                problems.append(SupportProblem(kind, supports.classes[c], i, box, said))

            proposals = supports.embedded[i].proposals.numpy()
            reach = pairwise_iou(np.array(box)[None], proposals).max(initial=0.0)
            if reach < HIT_IOU:
                tell("unreached", f"no proposal reaches this box (IoU {reach:.2f}): too small, cut off, or no object")
            others = labels != c
            nearest = int(np.where(others, cosines[m], -1).argmax())
            if others.any() and nearest > m and cosines[m, nearest] >= DUPLICATE:
                tell("duplicate", f"looks the same as a support of {supports.classes[labels[nearest]]}")
            if resembled[m] >= 0:
                other = supports.classes[resembled[m]]
                tell("outlier", f"looks more like {other} than like the other supports of {supports.classes[c]}")
        return problems + self._alike(supports)

    def _alike(self, supports: SupportSet) -> list[SupportProblem]:
        """Pairs of classes of which the one's marks are found as the other's when they are left out."""
        finds = self._held_out(supports)
        if finds is None or len(supports) < 2:
            return []
        problems = []
        scores = np.zeros((len(supports), len(supports)))
        for c in range(len(supports)):
            mine = finds.labels == c
            scores[c, c] = np.median(finds.scores[mine & finds.right]) if (mine & finds.right).any() else 1.0
            with_c = np.isin(finds.images, np.flatnonzero(finds.objects[:, c]))
            for other in range(len(supports)):
                wrong = (finds.labels == other) & ~finds.right & with_c & (finds.objects[finds.images, other] == 0)
                scores[c, other] = finds.scores[wrong].max(initial=0.0) if other != c else scores[c, c]
        for a in range(len(supports)):
            for b in range(a + 1, len(supports)):
                if scores[a, b] > scores[a, a] and scores[b, a] > scores[b, b]:
                    names = supports.classes[a], supports.classes[b]
                    said = f"{names[0]} and {names[1]} are taken for one another: mark more of both, or make them one class"
                    problems.append(SupportProblem("alike", names[0], None, None, said))
        return problems

    def estimate(self) -> dict[str, Estimate]:
        """Precision and recall to be expected on new images of the kind, by class and under "all", each with its interval
        of 90 %: from the marked images, each left out in turn. Images without any object are not among them.

        Raises:
            ValueError: as `check`; a method other than `logistic`; marks in one image only, or no class marked in two.
        """
        supports = self._examined()
        finds = self._held_out(supports)
        if finds is None or self.learnt.calibration is None:
            raise UserError("an estimate needs marks in at least two images, some class in both: mark another image")
        rows = estimates(finds, self.learnt.calibration)
        return dict(zip([*supports.classes, "all"], rows, strict=True))

    def learning_curve(self) -> list[tuple[int, float]]:
        """F1 to be expected from fewer of the marked images: pairs (images that teach, F1), the last with all but the fold
        that is left out.

        Raises:
            As `estimate`.
        """
        supports = self._examined()
        images = len(supports.by_image)
        sizes = [m for m in (1, 2, 3, 5, 8, 12, 20, 30, 50, 80, 120) if m < images - 1]
        curve = []
        for max_images in [*sizes, None]:
            finds = self._held_out(supports, max_images)
            if finds is None or self.learnt.calibration is None:
                raise UserError("a learning curve needs marks in at least two images, some class in both")
            curve.append((max_images or images - 1, estimates(finds, self.learnt.calibration)[-1].f1))
        return curve

    def mark_next(self, images: Any, count: int = 5) -> list[ImageInput]:
        """The images that are worth most to be marked next, the best first (`scoring.next_image`).

        Args:
            images: as in `detect`.
            count: how many.

        Raises:
            As `detect` and `check`; ValueError: a count below 1.
        """
        supports = self._examined()
        if count < 1:
            raise UserError(f"count is at least 1, not {count}")
        seen, _ = mark_features(supports)
        doubts, looks, inputs = [], [], list(image_inputs(images))
        for image in inputs:
            embedded = self.embedder([record := OpenImage.of(image.name, image.open())])[record.id]
            detections, _ = self.learnt.detect(embedded)
            doubts.append(doubt(detections.scores))
            looks.append(most_doubtful(embedded, self.learnt.scorer))
        chosen = next_images(doubts, np.stack(looks), seen, count) if inputs else []
        return [inputs[k] for k in chosen]

    def _examined(self) -> SupportSet:
        if self._supports is None:
            raise UserError(
                "only supports that were learnt from images, by a method that keeps them (`logistic`), can be looked at: "
                "learn first"
            )
        return self._supports

    def _held_out(self, supports: SupportSet, max_images: int | None = None) -> HeldOutFinds | None:
        scorer = self.learnt.scorer
        if not isinstance(scorer, LogisticRegression):
            raise UserError(f"supports are left out in turn for `logistic`; the method here is {self.method!r}")
        return held_out(scorer, supports, max_images)


def enough(curve: list[tuple[int, float]]) -> int | None:
    """From how many images on F1 stays within `ENOUGH` of its best; None: from none that has another behind it."""
    best, first = max(value for _, value in curve), None
    for size, value in reversed(curve):
        if value < best - ENOUGH:
            break
        first = size
    return first if first is not None and first < curve[-1][0] else None


def advice(curve: list[tuple[int, float]]) -> str:
    """What the curve says of more marks, in words."""
    if (size := enough(curve)) is not None:
        return f"from {size} images on, more bring little"
    if curve[-1][1] < max(value for _, value in curve) - ENOUGH:
        return "the figures are too uneven to say whether more marked images help"
    return "more marked images help still"
