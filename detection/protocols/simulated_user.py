"""What a click is worth: a simulated person who starts from one mark a class, and accepts or rejects what is found.

The pool of images to click in is the train list; the test list is searched as in `own_data`. A click goes to a find that
nobody has judged, by a policy: `confident`, the highest score; `uncertain`, the score nearest to the class's threshold. It
is accepted where it hits an object of its class that has no mark yet, else rejected. Beside it: as many boxes drawn by hand.

Shapes: P proposals of an image.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from repmet.detection.embedding.embedded_image import as_annotated
from repmet.detection.metrics.iou import pairwise_iou
from repmet.detection.protocols.own_data import OwnData, figures_of
from repmet.detection.scoring.held_out import HIT_IOU
from repmet.detection.scoring.logistic import LogisticRegression, regions_of
from repmet.detection.scoring.methods import Method
from repmet.detection.scoring.representatives import SupportSet
from repmet.detection.scoring.thresholds import calibration_of
from repmet.errors import UserError

POLICIES = ("confident", "uncertain")
POOL = 100  # images to click in at most


@dataclass
class Session:
    """The supports and the scorer of one person, and where they have clicked.

    Attributes:
        judged: by class and image, the boxes (n, 4) that were marked, accepted or rejected.
        accepted, rejected: how many clicks were which.
    """

    supports: SupportSet
    scorer: LogisticRegression
    thresholds: np.ndarray
    judged: dict[tuple[int, str], np.ndarray] = field(default_factory=dict)
    accepted: int = 0
    rejected: int = 0

    def click(self, data: OwnData, pool: Sequence[str], number: int, policy: str) -> None:
        """One click on a find of a class; none where every find is judged."""
        best: tuple[float, str, int] | None = None
        for name in pool:
            image = data.embedded[name]
            scores = self.scorer.scores(image)[:, number].numpy() * image.objectness.numpy() ** self.scorer.rule.objectness
            if len(seen := self._judged(number, name)) and len(scores):
                scores = np.where(pairwise_iou(seen, image.boxes.numpy()).max(0) >= HIT_IOU, -1, scores)
            open_ = np.flatnonzero(scores >= 0)
            if not len(open_):
                continue
            worth = scores[open_] if policy == "confident" else -np.abs(scores[open_] - self.thresholds[number])
            row = int(worth.argmax())
            if best is None or worth[row] > best[0]:
                best = float(worth[row]), name, int(open_[row])
        if best is not None:
            self._judge(data, best[1], best[2], number)

    def _judged(self, number: int, name: str) -> np.ndarray:
        return self.judged.get((number, name), np.zeros((0, 4), np.float32))

    def _judge(self, data: OwnData, name: str, proposal: int, number: int) -> None:
        record, image = data.records[name], data.embedded[name]
        box = image.boxes[proposal].numpy()[None]
        objects = record.boxes[np.array([n == data.classes[number] for n in record.names], bool)]
        right = len(objects) > 0 and pairwise_iou(box, objects).max() >= HIT_IOU
        self.judged[number, name] = np.concatenate([self._judged(number, name), box])
        self.accepted, self.rejected = self.accepted + right, self.rejected + (not right)
        shown = as_annotated(image, proposal, len(self.scorer.rule.other_looks))
        region = replace(record, names=("",), boxes=box, difficult=np.zeros(1, bool))
        places: list[list[tuple[str, int]]] = [[] for _ in data.classes]
        places[number] = [(name, 0)]
        none: list[list[tuple[str, int]]] = [[] for _ in data.classes]
        boxes, refused = (places, none) if right else (none, places)
        more = SupportSet(data.classes, boxes, {name: region}, {name: shown}, refused)
        self.scorer = self.scorer.corrected(regions_of(more, name), number)
        self.supports = self.supports.joined(more)


def clicks_of_draw(
    data: OwnData, method: Method, seed: int, clicks: Sequence[int], policy: str
) -> dict[int, Mapping[str, float]]:
    """The figures after so many clicks a class: AP50 and false finds with the corrected scorer and with one fitted anew to
    what was accepted and rejected, beside that from as many drawn boxes; and the share of clicks that accepted.

    Raises:
        ValueError: no such policy; a method other than `logistic`.
    """
    if policy not in POLICIES:
        raise UserError(f"no policy {policy!r}; there are {', '.join(POLICIES)}")
    if method.name != "logistic":
        raise UserError(f"clicks are simulated for `logistic`, not {method.name!r}")
    marks = data.marks(1, seed)
    supports = _alone(data, marks)
    scorer = method.learn(supports)
    calibration = calibration_of(scorer, supports)
    least = np.full(len(data.classes), 0.1) if calibration is None else calibration.raw(np.array(calibration.thresholds))
    session = Session(supports, scorer, least)
    for number, boxes in enumerate(marks):
        for name, box in boxes:
            session.judged[number, name] = np.concatenate(
                [session._judged(number, name), data.records[name].boxes[box][None]]
            )
    rng = np.random.default_rng(seed)
    pool = [r.id for r in data.train if r.id in data.embedded]
    pool = [pool[k] for k in sorted(rng.permutation(len(pool))[:POOL])]
    figures: dict[int, Mapping[str, float]] = {}
    for done in range(max(clicks) + 1):
        if done in clicks:
            anew = method.learn(session.supports)
            drawn = method.learn(SupportSet(data.classes, data.marks(1 + done, seed), data.records, data.embedded))
            judged = max(session.accepted + session.rejected, 1)
            figures[done] = {
                **{f"corrected_{n}": v for n, v in _searched(data, session.scorer, marks).items()},
                **{f"anew_{n}": v for n, v in _searched(data, anew, marks).items()},
                **{f"drawn_{n}": v for n, v in _searched(data, drawn, marks).items()},
                "accepted": session.accepted / judged,
            }
        if done < max(clicks):
            for number in range(len(data.classes)):
                session.click(data, pool, number, policy)
    return figures


def _searched(data: OwnData, scorer: LogisticRegression, marks: Sequence[Sequence[tuple[str, int]]]) -> dict[str, float]:
    queries = data.queries(marks)
    detections = [scorer.detect([data.embedded[r.id]])[0] for r in queries]
    figures = figures_of(detections, queries, data.classes)
    return {name: figures[name] for name in ("AP50", "false_finds")}


def _alone(data: OwnData, marks: Sequence[Sequence[tuple[str, int]]]) -> SupportSet:
    """The marks with the images that hold them, and no others."""
    ids = {i for boxes in marks for i, _ in boxes}
    return SupportSet(data.classes, marks, {i: data.records[i] for i in ids}, {i: data.embedded[i] for i in ids})
