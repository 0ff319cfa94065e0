"""Measure whether scores mean what they say, on annotated folders: `protocols/score_quality.py` says how.

    python -m detection.score_quality --data my_photos
    python -m detection.score_quality work_dirs/demo --data a b --marks 1 5 --draws 10

Prints for each folder the calibration error, F1 at the automatic thresholds beside the best one that the test labels give,
false finds, and how well objects of other classes are told from known ones; at the end the `score_prior` that the folders
give together. Writes `score_quality.json`.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from repmet.data.files.atomic import check_folder, write_json
from repmet.detection.checkpoint import open_detector
from repmet.detection.embedding.embedder import caching_embedder
from repmet.detection.protocols.own_data import embedded_own_data, read_own_data
from repmet.detection.protocols.score_figures import prior_rows
from repmet.detection.protocols.score_quality import quality_of_draw
from repmet.detection.scoring.methods import Method, check_methods, spaces_of
from repmet.detection.scoring.rule import few_shot_rule
from repmet.errors import UserError, exit_code
from repmet.experiments.reporting.intervals import mean_interval
from repmet.experiments.running.provenance import origin

PROG = "python -m detection.score_quality"
COLUMNS = ("ece", "ece_product", "ece_softmax", "f1", "f1_best", "f1_common", "f1_unknown", "auroc", "false_finds")
COLUMNS += ("false_finds_empty", "precision_covered", "recall_covered")


def run(args: argparse.Namespace) -> None:
    if min(args.marks) < 1 or args.draws < 1:
        raise UserError("--marks and --draws are at least 1")
    check_methods([args.method] if args.method else [])
    check_folder(Path(args.out))
    detector = open_detector(args.checkpoint)
    method = args.method or (detector.cfg.get("episodes") or {}).get("method") or "repmet"
    rule = few_shot_rule(detector.cfg)
    embedder = caching_embedder(detector, spaces_of([method]))
    seeds, rows = range(args.seed, args.seed + args.draws), []
    measured = {"protocol": "score quality", "seed": args.seed, **origin(), "rule": asdict(rule)}
    for data in [read_own_data(root, *args.lists) for root in args.data]:
        data = embedded_own_data(data, embedder, max(args.marks), seeds, rule)
        print(f"{data.name:<22}{'marks':>6}" + "".join(f"{name:>18}" for name in COLUMNS))
        for k in sorted(set(args.marks)):
            drawn = [quality_of_draw(data, Method(method, rule), k, seed) for seed in seeds]
            row: dict = {"set": data.name, "method": method, "marks": k, "draws": len(seeds)}
            for name in drawn[0]:
                values = [figures[name] for figures in drawn if figures[name] is not None]
                row[name] = mean_interval(values).as_json() if values else None
            rows.append(row)
            print(f"{'':<22}{k:>6}" + "".join(f"{_cell(row[name]):>18}" for name in COLUMNS), flush=True)
        write_json(Path(args.out) / "score_quality.json", measured | {"rows": rows})  # what is there if it is stopped
    prior = prior_rows(rows)
    print(f"score_prior: {prior}")
    write_json(Path(args.out) / "score_quality.json", measured | {"rows": rows, "score_prior": prior})
    print(f"written: {Path(args.out) / 'score_quality.json'}")


def _cell(value: dict | None) -> str:
    if value is None:
        return "-"
    return f"{value['mean']:.3f}" + ("" if value["ci95"] is None else f" ± {value['ci95']:.3f}")


def main(argv: Sequence[str] | None = None, prog: str = PROG) -> int:
    parser = argparse.ArgumentParser(prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", nargs="?", metavar="CHECKPOINT", help="default: the weights that ship")
    parser.add_argument("--data", nargs="+", required=True, metavar="DIR", help="annotated folders")
    parser.add_argument("--lists", nargs=2, default=("train", "test"), metavar=("MARKED", "SEARCHED"), help="train test")
    parser.add_argument("--marks", type=int, nargs="+", default=[1, 3, 5, 10], metavar="K", help="marks a class (1 3 5 10)")
    parser.add_argument("--draws", type=int, default=10, metavar="N", help="draws of the marks (default: 10)")
    parser.add_argument("--seed", type=int, default=0, help="of the first draw (default: 0)")
    parser.add_argument("--method", metavar="M", help="default: the checkpoint's own")
    parser.add_argument("--out", default="work_dirs/score_quality", metavar="DIR", help="where to write")
    args = parser.parse_args(argv)
    return exit_code(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
