"""The figure of metric-guided prototypes: embeddings of two dimensions, the prototypes on them, and the tree between these.

    python -m classification.pictures.tree docs/prototypes.png work_dirs/digits_free work_dirs/digits_guided_visual ...

A panel a run folder (or checkpoint), each with its error rate and average cost.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from repmet.data.files.atomic import check_folder
from repmet.data.files.saved_pictures import save_plot
from repmet.errors import UserError, exit_code
from repmet.model_definitions.hierarchy import Hierarchy


def inner_places(points: Tensor, hierarchy: Hierarchy) -> Tensor:
    """Places (M + 1, 2) of all nodes, the root last: the classes' own (K, 2), inner nodes at the mean of their children."""
    places = torch.cat([points, points.new_zeros(len(hierarchy) + 1 - len(points), 2)])
    root = len(hierarchy)
    parent = torch.where(hierarchy.parent < 0, root, hierarchy.parent)
    for node in [*range(len(hierarchy) - 1, hierarchy.num_classes - 1, -1), root]:  # from the leaves upwards
        places[node] = places[:-1][parent == node].mean(0)
    return places


def draw(axes: Any, embeddings: Tensor, labels: Tensor, points: Tensor, hierarchy: Hierarchy, title: str = "") -> None:
    """One panel of matplotlib: embeddings (n, 2) in the colours of their classes, points (K, 2), and the tree above them.

    Raises:
        ValueError: embeddings of another dimension.
    """
    if embeddings.shape[1] != 2 or points.shape[1] != 2:
        raise UserError(f"the figure is of embeddings in two dimensions, not {embeddings.shape[1]}")
    axes.scatter(*embeddings.T.numpy(), c=labels.numpy(), cmap="tab10", s=4, alpha=0.5, linewidths=0)
    places = inner_places(points, hierarchy)
    root = len(hierarchy)
    for node in range(root):
        above = int(hierarchy.parent[node]) if hierarchy.parent[node] >= 0 else root
        axes.plot(*places[[node, above]].T.numpy(), color="0.3", linewidth=0.8, zorder=3)
    axes.scatter(*places[hierarchy.num_classes :].T.numpy(), color="0.3", s=6, zorder=4)
    for name, (x, y) in zip(hierarchy.classes, points.tolist(), strict=True):
        box = {"boxstyle": "circle,pad=0.15", "facecolor": "white", "edgecolor": "0.3", "linewidth": 0.8}
        axes.text(x, y, name, ha="center", va="center", fontsize=7, bbox=box, zorder=5)
    axes.set_title(title, fontsize=8)
    axes.set_aspect("equal", "datalim")
    axes.set_xticks([])
    axes.set_yticks([])


def write_figure(path: Path, checkpoints: Sequence[str | Path]) -> None:
    """Evaluates every checkpoint on its own experiment's test set and draws a panel of each.

    Raises:
        ValueError: a checkpoint whose experiment has no tree of costs, or no embedding of two dimensions.
        FileNotFoundError: there is no such checkpoint.
    """
    from matplotlib.figure import Figure

    from repmet.classification.checkpoint import BEST, load_trained
    from repmet.classification.inputs.costs import read_costs
    from repmet.classification.protocols.cost_report import cost_rows
    from repmet.classification.protocols.evaluation import evaluate
    from repmet.experiments.running.checkpoints import experiment_of

    columns = min(3, len(checkpoints))
    rows = -(-len(checkpoints) // columns)
    figure = Figure(figsize=(3.2 * columns, 3.4 * rows), layout="constrained", dpi=150)
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes in panels[len(checkpoints) :]:
        axes.set_axis_off()
    for axes, checkpoint in zip(panels, checkpoints, strict=False):
        file = Path(checkpoint) / BEST if Path(checkpoint).is_dir() else checkpoint
        result = evaluate(load_trained(experiment_of(file), file), unsupervised=False)
        cfg = result.trained.cfg
        hierarchy = read_costs(cfg.costs, result.images.classes).hierarchy if cfg.get("costs") else None
        if hierarchy is None:
            raise UserError(f"{checkpoint}: its experiment has no tree of costs to draw")
        means = {row["metric"]: row["mean"] for row in cost_rows(result)}
        title = f"{cfg.report.method}\nerror {100 * means['error rate']:.1f} %, average cost {means['average cost']:.2f}"
        points = result.representatives.points.cpu().mean(1)
        draw(axes, result.embeddings, result.images.labels, points, hierarchy, title)
    save_plot(figure, path)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m classification.pictures.tree",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("out", type=Path, metavar="FIGURE.png")
    parser.add_argument("checkpoints", nargs="+", metavar="CHECKPOINT", help="run folders or checkpoints, a panel each")
    args = parser.parse_args(argv)

    def command() -> None:
        check_folder(args.out.parent)
        write_figure(args.out, args.checkpoints)
        print(f"look at {args.out}")

    return exit_code(command)


if __name__ == "__main__":
    sys.exit(main())
