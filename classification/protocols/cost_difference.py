"""How much less one method's mistakes cost than another's, seed by seed, on the same test images.

    python -m classification.protocols.cost_difference RUN ... --against RUN ...

Two intervals answer two questions. Over the seeds: would it hold for another training, on another split? Over the images:
would it hold for other images and these trainings? There every test of an image counts, though splits share some.
With `--out` the rows are written as JSON too.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmengine.registry import DATASETS
from torch import Tensor

from repmet.classification.checkpoint import BEST, check_known, load_trained
from repmet.classification.experiment import image_set
from repmet.classification.inputs.costs import read_costs
from repmet.classification.metrics.costs import image_costs
from repmet.classification.protocols.cost_report import figure
from repmet.classification.protocols.embedding import embed_split
from repmet.classification.protocols.report import aligned
from repmet.classification.protocols.rows import names_of
from repmet.data.files.atomic import check_folder, write_json
from repmet.errors import UserError, exit_code
from repmet.experiments.reporting.intervals import mean_interval, paired_difference
from repmet.experiments.running.checkpoints import experiment_of, latest_checkpoint
from repmet.experiments.running.provenance import origin


class Mistakes(NamedTuple):
    """costs: (n,) of every test image. images: a digest of these images. labels: (n,)."""

    dataset: str
    split: str
    method: str
    seed: int
    costs: Tensor
    images: str
    labels: Tensor


@torch.no_grad()
def mistakes(checkpoint: str | Path) -> Mistakes:
    """What a training's mistakes cost on the test set of its own experiment and split.

    Raises:
        ValueError: its experiment has no section `costs`, or other test classes than the costs are of.
        FileNotFoundError: there is no such checkpoint.
    """
    folder = Path(checkpoint)
    file = folder
    if folder.is_dir():
        file = folder / BEST if (folder / BEST).is_file() else latest_checkpoint(folder)
    if file is None:
        raise FileNotFoundError(f"{checkpoint}: a run folder without a checkpoint; train first, or name a file")
    trained = load_trained(experiment_of(file), file)
    cfg = trained.cfg
    if not cfg.get("costs"):
        raise UserError(f"{checkpoint}: its experiment has no section `costs`")
    images = DATASETS.build(image_set(cfg, "test", "test_pipeline"))
    check_known(trained, images.classes, "data.test")
    device = next(trained.method.parameters()).device
    predicted = trained.method.predict(embed_split(trained.method, images).to(device)).cpu()
    costs = image_costs(predicted, images.labels, read_costs(cfg.costs, images.classes).D)
    names = names_of(trained, "test")
    about = [names["dataset"], names["split"], names["method"], names["seeds"][0]]
    return Mistakes(*about, costs.double(), images.digest(), images.labels)


def differences(first: Sequence[Mistakes], others: Sequence[Mistakes]) -> list[dict[str, Any]]:
    """Mean cost of `others` less that of `first`, which is positive where the first are the better: two rows.

    {dataset, split, method, against, over: "seeds" or "images", mean, ci95, n, seeds}. `ci95` is None for a single seed.

    Raises:
        ValueError: several methods or data sets on a side, seeds that differ or repeat, or seeds with other test images.
    """
    for side in (first, others):
        if len({(m.dataset, m.split, m.method) for m in side}) != 1:
            named = ", ".join(sorted({f"{m.method} on {m.dataset}" for m in side}))
            raise UserError(f"a side is one method on one data set, and this one is: {named or 'empty'}")
    ours, theirs = ({m.seed: m for m in side} for side in (first, others))
    if ours.keys() != theirs.keys() or len(ours) != len(first) or len(theirs) != len(others):
        raise UserError(
            f"trainings are paired by seed: {sorted(m.seed for m in first)} do not go with {sorted(m.seed for m in others)}"
        )
    seeds = sorted(ours)
    for seed in seeds:
        a, b = ours[seed], theirs[seed]
        if not torch.equal(a.labels, b.labels) or a.images != b.images:
            raise UserError(f"seed {seed}: {a.method} and {b.method} were not tested on the same images")
    pairs = [(theirs[seed].costs, ours[seed].costs) for seed in seeds]
    over = {
        "seeds": mean_interval([(b.mean() - a.mean()).item() for b, a in pairs]),
        "images": paired_difference(torch.cat([b for b, _ in pairs]), torch.cat([a for _, a in pairs])),
    }
    about = {"dataset": first[0].dataset, "split": first[0].split, "method": first[0].method, "against": others[0].method}
    return [about | {"over": name, **estimate.as_json(), "seeds": seeds} for name, estimate in over.items()]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m classification.protocols.cost_difference",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("first", nargs="+", metavar="RUN", help="run folders or checkpoints of a method, one a seed")
    parser.add_argument("--against", nargs="+", required=True, metavar="RUN", help="those of another, of the same seeds")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="write the rows there too")
    args = parser.parse_args(argv)
    return exit_code(lambda: _run(args))


def _run(args: argparse.Namespace) -> None:
    if args.out:
        check_folder(args.out.parent)
    rows = differences([mistakes(run) for run in args.first], [mistakes(run) for run in args.against])
    cells = [(r["over"], figure(r["mean"], r["ci95"]), f"{r['n']:,}") for r in rows]
    print(f"{rows[0]['method']} cost less than {rows[0]['against']} on {rows[0]['dataset']} {rows[0]['split']} by\n")
    print(aligned([("over", "average cost", "n"), *cells]))
    if args.out:
        write_json(args.out, {**origin(), "cost_differences": rows})
        print(f"\nwritten: {args.out}")


if __name__ == "__main__":
    sys.exit(main())
