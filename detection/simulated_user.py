"""Measure what a click is worth on annotated folders: `protocols/simulated_user.py` says how.

    python -m detection.simulated_user --data my_photos
    python -m detection.simulated_user work_dirs/photos --data a b --clicks 0 5 10 20 --policy uncertain

A simulated person starts from one mark a class and accepts or rejects what is found in the images of the train list. Prints
AP50 of the test list after so many clicks a class, beside as many boxes drawn by hand, and writes `simulated_user.json`.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from repmet.data.files.atomic import check_folder, write_json
from repmet.detection.checkpoint import open_detector
from repmet.detection.embedding.embedder import caching_embedder
from repmet.detection.protocols.own_data import embedded_own_data, read_own_data
from repmet.detection.protocols.simulated_user import POLICIES, clicks_of_draw
from repmet.detection.scoring.methods import Method, spaces_of
from repmet.detection.scoring.rule import few_shot_rule
from repmet.errors import UserError, exit_code
from repmet.experiments.reporting.intervals import mean_interval
from repmet.experiments.running.provenance import origin

PROG = "python -m detection.simulated_user"
COLUMNS = ("corrected_AP50", "anew_AP50", "drawn_AP50", "anew_false_finds", "drawn_false_finds", "accepted")


def run(args: argparse.Namespace) -> None:
    if min(args.clicks) < 0 or args.draws < 1:
        raise UserError("--clicks are at least 0, --draws at least 1")
    check_folder(Path(args.out))
    detector = open_detector(args.checkpoint)
    rule = few_shot_rule(detector.cfg)
    embedder = caching_embedder(detector, spaces_of(["logistic"]))
    seeds, rows = range(args.seed, args.seed + args.draws), []
    measured = {"protocol": "simulated user", "seed": args.seed, **origin(), "rule": asdict(rule)}
    for data in [read_own_data(root) for root in args.data]:
        data = embedded_own_data(data, embedder, 1 + max(args.clicks), seeds, rule)
        pool = [r for r in data.train if r.id not in data.embedded]
        data = replace(data, embedded={**data.embedded, **embedder(pool)})
        drawn = [clicks_of_draw(data, Method("logistic", rule), seed, args.clicks, args.policy) for seed in seeds]
        print(f"{data.name:<22}{'clicks':>8}" + "".join(f"{name:>20}" for name in COLUMNS))
        for clicks in sorted(set(args.clicks)):
            figures = {name: mean_interval([d[clicks][name] for d in drawn]).as_json() for name in COLUMNS}
            rows.append({"set": data.name, "policy": args.policy, "clicks": clicks, "draws": len(seeds), **figures})
            print(f"{'':<22}{clicks:>8}" + "".join(f"{figures[name]['mean']:>20.3f}" for name in COLUMNS), flush=True)
        write_json(Path(args.out) / "simulated_user.json", measured | {"rows": rows})  # what is there if it is stopped
    print(f"written: {Path(args.out) / 'simulated_user.json'}")


def main(argv: Sequence[str] | None = None, prog: str = PROG) -> int:
    parser = argparse.ArgumentParser(prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", nargs="?", metavar="CHECKPOINT", help="default: the weights that ship")
    parser.add_argument("--data", nargs="+", required=True, metavar="DIR", help="annotated folders")
    parser.add_argument("--clicks", type=int, nargs="+", default=[0, 5, 10, 20], metavar="N", help="a class (0 5 10 20)")
    parser.add_argument("--policy", choices=POLICIES, default="confident", help="which find is clicked (confident)")
    parser.add_argument("--draws", type=int, default=10, metavar="N", help="draws of the first marks (default: 10)")
    parser.add_argument("--seed", type=int, default=0, help="of the first draw (default: 0)")
    parser.add_argument("--out", default="work_dirs/simulated_user", metavar="DIR", help="where to write")
    args = parser.parse_args(argv)
    return exit_code(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
