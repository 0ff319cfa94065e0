"""Evaluate a classifier or an embedding: whole sets where it knows the classes, episodes where it does not.

    python -m classification.evaluate experiments/published/classification/protonets_1_5.yaml work_dirs/protonets_1_5
    python -m classification.evaluate EXPERIMENT.yaml CHECKPOINT --episodes 10000 --way 20 --shot 1 5 --query 15 --seed 9001
    python -m classification.evaluate EXPERIMENT.yaml CHECKPOINT --against OTHER_CHECKPOINT
    python -m classification.evaluate EXPERIMENT.yaml CHECKPOINT --out pictures_of_it

Every image goes through the network once; the episodes are arithmetic on the embeddings. Prints a table and writes
`metrics.json` into the run folder (of a file or an address: work_dirs/<experiment>); with `--out` into that folder, and
beside it a page of pictures, `index.html`.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from repmet.classification.checkpoint import load_own, load_trained, run_folder
from repmet.classification.protocols.cost_report import cost_rows, cost_table
from repmet.classification.protocols.evaluation import Evaluation, compare, evaluate
from repmet.classification.protocols.report import comparison_table, table, write_metrics
from repmet.data.files.atomic import check_folder
from repmet.errors import exit_code
from repmet.experiments.config.suites import experiment_name
from repmet.experiments.running.allocator import keep_freed_memory
from repmet.experiments.running.provenance import origin

PROG = "python -m classification.evaluate"


def run(
    cfg: Config,
    checkpoint: str,
    out: Path,
    *,
    part: str = "test",
    against: str | None = None,
    pictures: bool = False,
    options: Sequence[str] = (),
) -> dict[str, Any]:
    """Runs the whole evaluation and returns what it wrote as `metrics.json`.

    Args:
        cfg: the experiment, not prepared.
        checkpoint: a file, a run folder or an address.
        out: the folder to write to.
        part: "test" or "val".
        against: another checkpoint of the experiment, to be compared with on the same episodes and images.
        pictures: write the page of pictures too.
        options: `--cfg-options` of the experiment, as typed.

    Raises:
        ValueError, FileNotFoundError, ConnectionError: the data, the episodes or a checkpoint are not what the experiment
            says.
    """
    start = time.monotonic()
    trained = load_trained(cfg, checkpoint, options)
    other = load_trained(cfg, against, options) if against else None
    result = evaluate(trained, part)
    paired = compare(result, other) if other else []
    metrics = {
        "experiment": experiment_name(cfg.filename),
        "checkpoint": trained.name,
        "sha256": trained.sha256,
        "command": trained.command,
        "seed": trained.seed,
        **origin(),
        "seconds": round(time.monotonic() - start, 1),
        "training": trained.training,
        "results": result.rows,
        "costs": cost_rows(result, part),
        "episodes": _protocols(result),
        "paired": paired,
    }
    print(table(result.rows))
    if metrics["costs"]:
        print("\n" + cost_table(metrics["costs"]))
    if paired:
        print("\n" + comparison_table(paired, trained.name))
    written = write_metrics(metrics, out)
    print(f"\nwritten: {written}")
    if pictures:
        from repmet.classification.pictures.page import write_page  # imports matplotlib

        print(f"look at {write_page(result, out)}")
    return metrics


def _protocols(result: Evaluation) -> list[dict[str, Any]]:
    seed = (result.trained.cfg.get("episodes") or {}).get("seed")
    return [
        {
            "metric": metric,
            "way": e.way,
            "shot": e.shot,
            "query": e.queries,
            "episodes": len(e),
            "seed": seed,
            "hash": e.hash,
        }
        for metric, e in result.episodes.items()
    ]


def _flags(args: argparse.Namespace) -> dict[str, Any]:
    """The command line as changes of the experiment."""
    return {
        "data.root": args.data,
        "episodes.way": args.way,
        "episodes.shot": args.shot,
        "episodes.query": args.query,
        "episodes.seed": args.seed,
        "episodes.episodes": args.episodes,
    }


def main(argv: Sequence[str] | None = None, prog: str = PROG) -> int:
    keep_freed_memory()
    description = __doc__.replace(PROG, prog)
    parser = argparse.ArgumentParser(
        prog=prog, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("experiment", metavar="EXPERIMENT.yaml")
    parser.add_argument(
        "checkpoint",
        metavar="CHECKPOINT",
        help="a file, a run folder for its best one, or an address, with #sha256=HEX behind it to have it checked",
    )
    parser.add_argument("--data", metavar="DIR", help="folder of the images, in the place of the experiment's data.root")
    parser.add_argument("--episodes", type=int, metavar="N", help="how many to draw")
    parser.add_argument("--way", type=int, metavar="N", help="classes of an episode")
    parser.add_argument(
        "--shot", type=int, nargs="+", metavar="K", help="support images of a class; several give a row each"
    )
    parser.add_argument("--query", type=int, metavar="Q", help="query images of a class")
    parser.add_argument("--seed", type=int, help="of the episodes")
    parser.add_argument("--split", choices=("test", "val"), default="test", help="which of the experiment's splits")
    parser.add_argument(
        "--against", metavar="CHECKPOINT", help="another checkpoint, compared on the same episodes and images"
    )
    parser.add_argument("--out", metavar="DIR", help="where to write, with pictures (default: the run folder, without)")
    parser.add_argument("--cfg-options", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="change keys")
    args = parser.parse_args(argv)

    def command() -> None:
        cfg = load_own(args.experiment, args.cfg_options, _flags(args))
        out = check_folder(args.out or run_folder(args.checkpoint, args.experiment))
        how = {"part": args.split, "against": args.against, "pictures": args.out is not None}
        run(cfg, args.checkpoint, out, **how, options=args.cfg_options)

    return exit_code(command)


if __name__ == "__main__":
    sys.exit(main())
