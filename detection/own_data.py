"""Measure what a few marks are worth on your own annotated images: `protocols/own_data.py` says how.

    python -m detection.own_data --data my_photos                       # the detector that ships
    python -m detection.own_data work_dirs/demo --data a b --marks 1 5 --draws 10 --methods logistic baseline_roi

Each folder holds annotated images with lists `train` and `test`; a folder without lists is dealt into them. Of the train
list k boxes of each class are marked, ten times by another seed, and every image of the test list is searched for all.
Prints a table for each folder and writes `own_data.json`.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from mmengine.dist import is_main_process

from repmet.data.files.atomic import check_folder, write_json
from repmet.detection.checkpoint import open_detector
from repmet.detection.protocols.own_data import own_data
from repmet.detection.scoring.methods import check_methods
from repmet.detection.scoring.rule import few_shot_rule
from repmet.errors import UserError, exit_code
from repmet.experiments.running.processes import join
from repmet.experiments.running.provenance import origin

PROG = "python -m detection.own_data"


def main(argv: Sequence[str] | None = None, prog: str = PROG) -> int:
    parser = argparse.ArgumentParser(prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", nargs="?", metavar="CHECKPOINT", help="default: the weights that ship")
    parser.add_argument("--data", nargs="+", required=True, metavar="DIR", help="annotated folders")
    parser.add_argument("--marks", type=int, nargs="+", default=[1, 5, 10], metavar="K", help="marks a class (1 5 10)")
    parser.add_argument("--draws", type=int, default=10, metavar="N", help="draws of the marks (default: 10)")
    parser.add_argument("--seed", type=int, default=0, help="of the first draw (default: 0)")
    parser.add_argument("--methods", nargs="+", metavar="M", help="compared with the first (default: the checkpoint's own)")
    parser.add_argument("--classes", metavar="A,B,...|FILE.txt", help="mark and search these alone (default: all)")
    parser.add_argument("--out", default="work_dirs/own_data", metavar="DIR", help="where to write (work_dirs/own_data)")
    args = parser.parse_args(argv)

    def command() -> None:
        join()
        if min(args.marks) < 1 or args.draws < 1:
            raise UserError("--marks and --draws are at least 1")
        check_methods(args.methods or [])
        if is_main_process():
            check_folder(Path(args.out))
        start = time.monotonic()
        detector = open_detector(args.checkpoint)
        methods = args.methods or [(detector.cfg.get("episodes") or {}).get("method") or "repmet"]
        seeds = range(args.seed, args.seed + args.draws)
        sets = own_data(detector, args.data, sorted(set(args.marks)), seeds, methods, args.classes)
        if not is_main_process():
            return
        measured = {"protocol": "own data", "seed": args.seed, **origin(), "rule": asdict(few_shot_rule(detector.cfg))}
        seconds = round(time.monotonic() - start, 1)
        write_json(Path(args.out) / "own_data.json", measured | {"seconds": seconds, "sets": sets})
        print(f"written: {Path(args.out) / 'own_data.json'}")

    return exit_code(command)


if __name__ == "__main__":
    sys.exit(main())
