"""Measure which scores negative representatives change, and what it costs: `protocols/negatives.py` says how.

    python -m detection.negatives experiments/detection/np_repmet_glyphs.yaml work_dirs/np_repmet_glyphs
    python -m detection.negatives experiments/detection/demo.yaml work_dirs/demo --episodes 20

Any detector with novel classes and a RepMet head will do: where the head has no embedding for negatives, they are told
apart in RepMet's own, as `np_repmet` does. Prints a table and writes `negatives.json`.
"""

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from repmet.data.files.atomic import check_folder, write_json
from repmet.data.readers.annotated_folder import read_images
from repmet.detection.checkpoint import load_detector
from repmet.detection.embedding.embedder import caching_embedder
from repmet.detection.embedding.views import with_views
from repmet.detection.evaluate import make_episodes
from repmet.detection.protocols.episodic import Pools
from repmet.detection.protocols.negatives import measure
from repmet.detection.scoring.methods import DEFAULT_METHODS, spaces_of
from repmet.detection.scoring.representatives import base_representatives
from repmet.detection.scoring.rule import few_shot_rule
from repmet.errors import UserError, exit_code
from repmet.experiments.config.loading import check_tree, load_experiment
from repmet.experiments.config.suites import experiment_name
from repmet.experiments.running.checkpoints import latest_checkpoint
from repmet.experiments.running.provenance import origin

PROG = "python -m detection.negatives"


def run(args: argparse.Namespace) -> None:
    start = time.monotonic()
    check_folder(Path(args.out))
    cfg = load_experiment(args.experiment, args.cfg_options, {"episodes.episodes": args.episodes})
    check_tree(cfg, args.experiment, "detection", "negatives")
    detector = load_detector(cfg, latest_checkpoint(args.checkpoint) or args.checkpoint, args.cfg_options)
    data, rule = detector.cfg.data, few_shot_rule(detector.cfg)
    if not data.novel_classes:
        raise UserError(f"{args.experiment}: there are no episodes without novel classes, and data.novel_classes is empty")
    pools = Pools.of(*(read_images(data.root, name, classes=data.novel_classes) for name in (data.support, data.query)))
    episodes = make_episodes(detector.cfg, pools, None)
    evaluated = detector.cfg.episodes.get("methods") or DEFAULT_METHODS  # what `evaluate` has kept is not embedded again
    embedder = caching_embedder(detector, spaces_of([*evaluated, "np_repmet"]))
    images = embedder(pools.used_by(episodes))
    embedded = with_views(images, pools.supports_of(episodes), embedder, rule.other_looks)
    rows = measure(episodes, pools, embedded, rule, base_representatives(detector.model.roi_head.bbox_head, rule))
    print(table(rows))
    name = experiment_name(cfg.filename)
    about = {"protocol": "negatives", "experiment": name, **origin(), "seconds": round(time.monotonic() - start, 1)}
    about |= {"training": detector.training, "rule": asdict(rule), "rows": [{"experiment": name, **row} for row in rows]}
    write_json(Path(args.out) / "negatives.json", about)
    print(f"written: {Path(args.out) / 'negatives.json'}")


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as text, scores and areas in percent."""
    head = f"{'changed':<14}{'shots':>6}{'AP':>7}{'pairs':>9}{'d2 +':>7}{'score':>14}{'AUROC':>14}"
    lines = [head, "-" * len(head)]
    for row in rows:
        name = {"without": "none", "with": "all"}.get(row["scores"], row["scores"])
        cells = [f"{name:<14}{row['shot']:>6}{100 * row['AP']['mean']:>7.1f}"]
        if "pairs" in row:
            cells.append(f"{row['pairs']['mean']:>9,}{row['lengthened']['mean']:>7.3f}")
            cells += [
                f"{100 * row[f'{kind}without']['mean']:>7.1f} -> {100 * row[f'{kind}with']['mean']:.1f}"
                for kind in ("", "auroc_")
                if f"{kind}without" in row
            ]
        lines.append("".join(cells))
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None, prog: str = PROG) -> int:
    parser = argparse.ArgumentParser(prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", metavar="EXPERIMENT.yaml")
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="a file, or a run folder for its last one")
    parser.add_argument("--episodes", type=int, metavar="N", help="how many to draw")
    parser.add_argument("--out", default="work_dirs/negatives", metavar="DIR", help="where to write (work_dirs/negatives)")
    parser.add_argument("--cfg-options", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="change keys")
    args = parser.parse_args(argv)
    return exit_code(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
