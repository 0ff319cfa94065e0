"""What an evaluation says of the costs of mistakes, where the experiment has a section `costs`."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from repmet.classification.inputs.costs import read_costs
from repmet.classification.metrics.costs import cost_figures
from repmet.classification.protocols.evaluation import Evaluation
from repmet.classification.protocols.report import aligned
from repmet.classification.protocols.rows import row_of
from repmet.errors import UserError


@torch.no_grad()
def cost_rows(result: Evaluation, part: str = "test") -> list[dict[str, Any]]:
    """The figures of `metrics.costs` on the evaluated set, as result rows; none without a section `costs`.

    The distortion is of the method's representatives (the mean of several of a class), else of the training's class means.

    Raises:
        ValueError: the set has other classes than the training; as `read_costs`.
    """
    cfg = result.trained.cfg
    if not cfg.get("costs"):
        return []
    if not result.closed:
        raise UserError("costs: the evaluated classes are not those of the training, so none is mistaken for another")
    D, hierarchy = read_costs(cfg.costs, result.images.classes)
    method = result.trained.method
    device = next(method.parameters()).device
    predicted = method.predict(result.embeddings.to(device)).cpu()
    representatives = result.representatives
    points = representatives.points.cpu()
    present = torch.ones(points.shape[:2]) if representatives.present is None else representatives.present.cpu().float()
    points = (points * present[..., None]).sum(1) / present.sum(1).clamp_min(1)[:, None]  # (K, e)
    figures = cost_figures(predicted, result.images.labels, D, hierarchy, points)
    return [row_of(result.trained, part, metric, estimate) for metric, estimate in figures.items()]


def cost_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as text; costs are in the matrix' own units, rates are fractions."""
    cells = [
        (row["dataset"], row["split"], row["method"], row["metric"], figure(row["mean"], row["ci95"]), f"{row['n']:,}")
        for row in rows
    ]
    return aligned([("data", "split", "method", "metric", "mean", "n"), *cells])


def figure(mean: float, ci95: float | None) -> str:
    """A figure with the half-width of its interval where there is one."""
    return f"{mean:.3f}" + ("" if ci95 is None else f" ± {ci95:.3f}")
