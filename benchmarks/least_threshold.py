"""Which least threshold, and which quantile for unmarked objects: python -m benchmarks.least_threshold FOLDER

    python -m benchmarks.least_threshold VOCdevkit/VOC2007 --lists trainval test --out least_threshold.json

Two numbers of the automatic thresholds hold for all sets: no threshold is below the least one (`scoring.calibration.LEAST`),
and a find beside the marks that scores as high as a quantile of the finds on them is taken for an object that nobody marked
(`scoring.held_out.UNMARKED`). They are to be chosen on classes that no table of scores is about. Here the classes of an
annotated folder are shown one by one, by threes and all at once, as people do; which of them stand together changes with
the draw. Marks are drawn and the test list is searched as in `detection.own_data`.

Figures: F1 at the automatic thresholds, the mean over classes and groups; wrong finds an image; beside them F1 at the best
threshold for all classes of a group, chosen with the test labels. Intervals are over the draws.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from repmet.benchmarks.embedded_folders import folder_of
from repmet.data.files.atomic import check_folder, write_json
from repmet.detection.checkpoint import open_detector
from repmet.detection.embedding.embedder import caching_embedder
from repmet.detection.protocols.own_data import OwnData, embedded_own_data, read_own_data
from repmet.detection.protocols.score_quality import COMMON, Finds, searched
from repmet.detection.scoring.calibration import LEAST, HeldOutFinds, Prior, calibrate
from repmet.detection.scoring.held_out import UNMARKED, without_unmarked
from repmet.detection.scoring.logistic import LogisticRegression
from repmet.detection.scoring.methods import spaces_of
from repmet.detection.scoring.representatives import SupportSet
from repmet.detection.scoring.rule import FewShotRule, few_shot_rule
from repmet.detection.scoring.thresholds import held_out
from repmet.errors import UserError, exit_code
from repmet.experiments.reporting.intervals import mean_interval
from repmet.experiments.running.provenance import origin

LEASTS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4)  # with the quantile that is used
QUANTILES = (0.5, 0.9, 1.0)  # with the least threshold that is used
Candidate = tuple[float, float]  # least threshold, quantile


@dataclass(frozen=True)
class Shown:
    """A group of classes, learnt from a draw's marks.

    Attributes:
        prior: of the calibration. left_out: finds in the marked images, all of them; None where nothing can be left out.
        finds: in the test list.
    """

    prior: Prior
    left_out: HeldOutFinds | None
    finds: Finds

    def figures(self, least: float, quantile: float) -> tuple[float, float]:
        """Class-mean F1 and wrong finds an image, at the thresholds that these two numbers give."""
        seen = None if self.left_out is None else without_unmarked(self.left_out, quantile)
        calibration = calibrate(self.prior, len(self.finds.objects), seen, least)
        p, thresholds = calibration(self.finds.scores, self.finds.labels), np.array(calibration.thresholds)
        taken = p >= thresholds[self.finds.labels]
        return self.finds.class_mean_f1(p, thresholds), self.finds.false_finds(taken)["false_finds"] or 0.0

    def best(self) -> float:
        """Class-mean F1 at the best threshold for all classes."""
        calibration = calibrate(self.prior, len(self.finds.objects), self.left_out)
        p = calibration(self.finds.scores, self.finds.labels)
        return max(self.finds.class_mean_f1(p, np.full(len(self.finds.objects), t)) for t in COMMON)


def groups(data: OwnData, shown: int, seed: int) -> Iterator[OwnData]:
    """The set with so many classes at a time, shuffled by seed; what is left over is left out."""
    order = np.random.default_rng(seed).permutation(len(data.classes))
    for start in range(0, len(order) - shown + 1, shown):
        yield replace(data, classes=tuple(data.classes[c] for c in sorted(order[start : start + shown])))


def learnt(data: OwnData, rule: FewShotRule, k: int, seed: int) -> Shown:
    """All classes of a set from k marks each."""
    marks = data.marks(k, seed)
    supports = SupportSet(data.classes, marks, data.records, data.embedded)
    scorer = LogisticRegression.learn(supports, rule)
    return Shown(
        prior=Prior.at(float(np.mean([len(boxes) for boxes in marks])), rule.score_prior or ()),
        left_out=held_out(scorer, supports, marks="complete"),
        finds=searched(scorer, data, data.queries(marks), data.classes),
    )


def measure(
    data: OwnData, rule: FewShotRule, shown: int, k: int, seeds: Sequence[int], candidates: Sequence[Candidate]
) -> list[dict[str, object]]:
    """A row a candidate, of so many classes shown at a time with k marks each."""
    drawn: list[dict[Candidate | str, tuple[float, float]]] = []
    for seed in seeds:
        learned = [learnt(group, rule, k, seed) for group in groups(data, shown, seed)]
        means = {c: tuple(np.mean([group.figures(*c) for group in learned], axis=0)) for c in candidates}
        drawn.append(means | {"best": (float(np.mean([group.best() for group in learned])), 0.0)})
    best = mean_interval([draw["best"][0] for draw in drawn]).as_json()
    return [
        {"set": data.name, "marks": k, "shown": shown, "least": least, "quantile": quantile, "draws": len(seeds)}
        | {"f1": mean_interval([draw[least, quantile][0] for draw in drawn]).as_json()}
        | {"false_finds": mean_interval([draw[least, quantile][1] for draw in drawn]).as_json(), "f1_common": best}
        for least, quantile in candidates
    ]


def said(row: dict[str, dict[str, float]]) -> str:
    f1, wrong, best = row["f1"], row["false_finds"], row["f1_common"]
    half = "" if f1["ci95"] is None else f" ± {100 * f1['ci95']:.1f}"
    about = f"{row['shown']:>5} shown {row['marks']:>3} marks, from {row['least']:.2f}, quantile {row['quantile']:.2f}"
    return f"{about}: F1 {100 * f1['mean']:.1f}{half} (best {100 * best['mean']:.1f}), wrong {wrong['mean']:.2f} an image"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.least_threshold",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", metavar="FOLDER", help="annotated images, as named or in REPMET_DATA")
    parser.add_argument("--lists", nargs=2, default=("train", "test"), metavar=("MARKED", "SEARCHED"), help="train test")
    parser.add_argument("--marks", type=int, nargs="+", default=[1, 5], metavar="K", help="a class (1 5)")
    parser.add_argument("--shown", type=int, nargs="+", metavar="N", help="classes at a time (1, 3 and all)")
    parser.add_argument("--draws", type=int, default=5, metavar="N", help="draws of the marks (5)")
    parser.add_argument("--out", type=Path, metavar="FILE")
    args = parser.parse_args(argv)

    def command() -> None:
        start = time.monotonic()
        if min([*args.marks, *(args.shown or [1]), args.draws]) < 1:
            raise UserError("--marks, --shown and --draws are at least 1")
        if args.out:
            check_folder(args.out.parent)
        data = read_own_data(folder_of(args.folder), *args.lists)
        if max(args.shown or [1]) > len(data.classes):
            raise UserError(f"{args.folder}: {max(args.shown)} classes cannot be shown, there are {len(data.classes)}")
        detector = open_detector(None)
        rule, seeds = few_shot_rule(detector.cfg), range(args.draws)
        data = embedded_own_data(data, caching_embedder(detector, spaces_of(["logistic"])), max(args.marks), seeds, rule)
        candidates = [(least, UNMARKED) for least in LEASTS] + [(LEAST, quantile) for quantile in QUANTILES]
        rows = []
        for shown in args.shown or sorted({n for n in (1, 3) if n < len(data.classes)} | {len(data.classes)}):
            for k in args.marks:
                for row in measure(data, rule, shown, k, seeds, candidates):
                    rows.append(row)
                    print(said(row), flush=True)
        if args.out:
            about = {"protocol": "least threshold", "rule": asdict(rule), "seconds": round(time.monotonic() - start, 1)}
            write_json(args.out, origin() | about | {"rows": rows})

    return exit_code(command)


if __name__ == "__main__":
    sys.exit(main())
