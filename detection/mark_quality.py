"""Measure what faults among the marks cost, and what it is worth to choose the next image: `protocols/mark_quality.py`.

    python -m detection.mark_quality --data my_photos
    python -m detection.mark_quality work_dirs/photos --data a b --marks 10 --images 0 3 6 10 --draws 5

Prints AP50 of the test list with one label in ten wrong, with every second object of the marked images passed over, and
after so many more images were marked, chosen or by chance; writes `mark_quality.json`.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from repmet.data.files.atomic import check_folder, write_json
from repmet.detection.checkpoint import open_detector
from repmet.detection.embedding.embedder import caching_embedder
from repmet.detection.protocols.mark_quality import chosen_of_draw, faults_of_draw
from repmet.detection.protocols.own_data import embedded_own_data, read_own_data
from repmet.detection.scoring.methods import Method, spaces_of
from repmet.detection.scoring.rule import few_shot_rule
from repmet.errors import UserError, exit_code
from repmet.experiments.reporting.intervals import mean_interval, paired_difference
from repmet.experiments.running.provenance import origin

PROG = "python -m detection.mark_quality"
COSTS = {  # a difference: what is subtracted from what, both with the same marks
    "wrong_label": ("AP50_wrong", "AP50"),
    "wrong_label_robust": ("AP50_wrong_robust", "AP50_robust"),
    "robust": ("AP50_robust", "AP50"),
    "half_partial": ("AP50_half_partial", "AP50_half_known"),
    "half_complete": ("AP50_half_complete", "AP50_half_known"),
    "chosen": ("chosen_AP50", "random_AP50"),
}


def run(args: argparse.Namespace) -> None:
    if args.marks < 1 or args.draws < 1 or min(args.images) < 0:
        raise UserError("--marks and --draws are at least 1, --images at least 0")
    check_folder(Path(args.out))
    detector = open_detector(args.checkpoint)
    method = Method("logistic", few_shot_rule(detector.cfg))
    embedder = caching_embedder(detector, spaces_of(["logistic"]))
    seeds = range(args.seed, args.seed + args.draws)
    faults: list[dict] = []
    chosen: list[dict] = []
    measured = {"protocol": "mark quality", "seed": args.seed, **origin(), "rule": asdict(method.rule)}
    for data in [read_own_data(root) for root in args.data]:
        data = embedded_own_data(data, embedder, args.marks, seeds, method.rule)
        pool = [r for r in data.train if r.id not in data.embedded]
        data = replace(data, embedded={**data.embedded, **embedder(pool)})
        of = {"set": data.name, "draws": len(seeds)}
        faults.append(of | {"marks": args.marks} | _figures([faults_of_draw(data, method, args.marks, s) for s in seeds]))
        _say(faults[-1])
        draws = [chosen_of_draw(data, method, args.images, seed) for seed in seeds]
        for count in sorted(set(args.images)) if all(draws) else ():
            chosen.append(of | {"images": count} | _figures([draw[count] for draw in draws if draw]))
            _say(chosen[-1])
        write_json(Path(args.out) / "mark_quality.json", measured | {"rows": faults, "chosen": chosen})
    print(f"written: {Path(args.out) / 'mark_quality.json'}")


def _figures(draws: Sequence[Mapping[str, float | None]]) -> dict[str, dict | None]:
    """Each figure's mean with its interval over the draws, and the paired differences; None where nothing was measured."""
    values = {name: [draw[name] for draw in draws] for name in draws[0] if all(draw[name] is not None for draw in draws)}
    figures = {name: mean_interval(values[name]).as_json() if name in values else None for name in draws[0]}
    pairs = {name: pair for name, pair in COSTS.items() if all(part in draws[0] for part in pair)}
    return figures | {
        name: paired_difference(values[a], values[b]).as_json() if a in values and b in values else None
        for name, (a, b) in pairs.items()
    }


def _say(row: Mapping) -> None:
    figures = {name: value for name, value in row.items() if isinstance(value, Mapping)}
    about = ", ".join(f"{row[key]} {key}" for key in ("marks", "images") if key in row)
    print(f"{row['set']}, {about}: " + ", ".join(f"{n} {100 * v['mean']:.1f}" for n, v in figures.items()), flush=True)


def main(argv: Sequence[str] | None = None, prog: str = PROG) -> int:
    parser = argparse.ArgumentParser(prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", nargs="?", metavar="CHECKPOINT", help="default: the weights that ship")
    parser.add_argument("--data", nargs="+", required=True, metavar="DIR", help="annotated folders")
    parser.add_argument("--marks", type=int, default=10, metavar="K", help="a class, in which faults are made (10)")
    parser.add_argument("--images", type=int, nargs="+", default=[0, 2, 5, 10], metavar="N", help="marked more (0 2 5 10)")
    parser.add_argument("--draws", type=int, default=10, metavar="N", help="draws of the marks (default: 10)")
    parser.add_argument("--seed", type=int, default=0, help="of the first draw (default: 0)")
    parser.add_argument("--out", default="work_dirs/mark_quality", metavar="DIR", help="where to write")
    args = parser.parse_args(argv)
    return exit_code(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
