r"""Evaluate an embedding by retrieval: the test set in itself, none of whose classes need have been trained on.

    python -m classification.retrieve experiments/published/classification/nivmf.yaml:elnivmf_cars196_r50_128 \
        work_dirs/elnivmf_cars196_r50_128
    python -m classification.retrieve EXPERIMENT.yaml CHECKPOINT --metrics recall@1 kNN@5 "AURC by norm" --split val

Every image goes through the network once. Prints a table and writes `retrieval.json` into the run folder; with `--out` into
that folder, and beside it pictures: certain.png, the least and most certain images; risk.png, how often the most certain of
the retrievals are wrong; spoilt.png, what blur and occlusion do to the norms; neighbours.png, what was retrieved.
"""

import argparse
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import DATASETS

from repmet.classification.checkpoint import load_own, load_trained, run_folder
from repmet.classification.experiment import image_set
from repmet.classification.metrics.retrieval import retrieve
from repmet.classification.metrics.retrieval_figures import (
    DEFAULT_FIGURES,
    KNOWN,
    is_about_certainty,
    is_fraction,
    retrieval_figures,
)
from repmet.classification.metrics.uncertainty import risk_curves
from repmet.classification.protocols.embedding import embed_split
from repmet.classification.protocols.report import aligned, table
from repmet.classification.protocols.rows import row_of
from repmet.data.files.atomic import check_folder, write_json
from repmet.errors import exit_code
from repmet.experiments.config.suites import experiment_name
from repmet.experiments.reporting.intervals import Estimate
from repmet.experiments.running.allocator import keep_freed_memory
from repmet.experiments.running.provenance import origin

PROG = "python -m classification.retrieve"
FIGURES = (*DEFAULT_FIGURES, "NMI", "F1", "AUROC by norm", "AUROC by cosine", "AUROC by log-PPK")


def run(
    cfg: Config,
    checkpoint: str,
    out: Path,
    *,
    part: str = "test",
    metrics: Sequence[str] = FIGURES,
    pictures: bool = False,
    options: Sequence[str] = (),
) -> dict[str, Any]:
    """Runs the evaluation and returns what it wrote as `retrieval.json`.

    Args:
        cfg: the experiment, not prepared. checkpoint: a file, a run folder or an address. out: the folder to write to.
        part: "test" or "val". metrics: names of `retrieval_figures`; one that is not a number here (an AUROC where
            every retrieval is right) is left out. pictures: draw some too. options: `--cfg-options`, as typed.

    Raises:
        ValueError, FileNotFoundError, ConnectionError: the data or the checkpoint are not what the experiment says, or an
            unknown metric.
    """
    start = time.monotonic()
    trained = load_trained(cfg, checkpoint, options)
    images = DATASETS.build(image_set(trained.cfg, part, "test_pipeline"))
    embeddings = embed_split(trained.method, images)
    figures = retrieval_figures(embeddings, images.labels, metrics)
    curves = {}
    if any(is_about_certainty(name) for name in metrics):
        curves = risk_curves(retrieve(embeddings, images.labels, recall_at=[1]), embeddings)
    rows = [
        row_of(trained, part, metric, Estimate(value, math.nan, len(images)))
        for metric, value in figures.items()
        if not math.isnan(value)
    ]
    content = {
        "experiment": experiment_name(cfg.filename),
        "checkpoint": trained.name,
        "sha256": trained.sha256,
        "command": trained.command,
        "seed": trained.seed,
        **origin(),
        "seconds": round(time.monotonic() - start, 1),
        "training": trained.training,
        "results": rows,
        "risk_coverage": curves,
    }
    print(table([row for row in rows if is_fraction(row["metric"])]))
    if others := [(row["metric"], f"{row['mean']:.4f}") for row in rows if not is_fraction(row["metric"])]:
        print("\n" + aligned([("metric", "value"), *others]))
    path = out / "retrieval.json"
    write_json(path, content)
    print(f"\nwritten: {path}")
    if pictures:
        from repmet.classification.pictures import certainty as draw

        some = torch.linspace(0, len(images) - 1, min(64, len(images))).long().tolist()
        draw.certainty_plot(out / "certain.png", images, embeddings)
        if curves:
            draw.risk_plot(out / "risk.png", curves)
        draw.neighbours_plot(out / "neighbours.png", images, embeddings, some[:: max(1, len(some) // 8)])
        if images[0]["inputs"].dim() > 1:
            draw.norms_plot(out / "spoilt.png", draw.spoilt_norms(trained.method, images, some))
        print(f"look at {out}")
    return content


def main(argv: Sequence[str] | None = None, prog: str = PROG) -> int:
    keep_freed_memory()
    description = __doc__.replace(PROG, prog)
    parser = argparse.ArgumentParser(
        prog=prog, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("experiment", metavar="EXPERIMENT.yaml")
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="a file, a run folder for its best one, or an address")
    parser.add_argument("--data", metavar="DIR", help="folder of the images, in the place of the experiment's data.root")
    parser.add_argument("--split", choices=("test", "val"), default="test", help="which of the experiment's splits")
    parser.add_argument("--metrics", nargs="+", default=FIGURES, metavar="NAME", help=f"of: {', '.join(KNOWN)}")
    parser.add_argument("--out", metavar="DIR", help="where to write, with pictures (default: the run folder, without)")
    parser.add_argument("--cfg-options", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="change keys")
    args = parser.parse_args(argv)

    def command() -> None:
        cfg = load_own(args.experiment, args.cfg_options, {"data.root": args.data})
        out = check_folder(args.out or run_folder(args.checkpoint, args.experiment))
        how = {"part": args.split, "metrics": args.metrics, "pictures": args.out is not None}
        run(cfg, args.checkpoint, out, **how, options=args.cfg_options)

    return exit_code(command)


if __name__ == "__main__":
    sys.exit(main())
