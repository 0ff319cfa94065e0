"""Pictures of few-shot detection: a sheet for an episode, a plot of precision and recall, and which episodes to show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from repmet.data.files.lettering import draw_text, text_width
from repmet.data.files.pictures import open_rgb
from repmet.data.files.saved_pictures import save_picture, save_plot
from repmet.detection.metrics import Outcome
from repmet.detection.pictures.drawing import CELL, COLOURS, CROP, MISSED, QueryPicture, fit, query_cell, support_crop
from repmet.errors import UserError

__all__ = ["QueryPicture", "episode_sheet", "pick", "precision_recall_plot"]

LEGEND = (
    ("right", COLOURS[Outcome.RIGHT]),
    ("wrong class", COLOURS[Outcome.WRONG_CLASS]),
    ("background", COLOURS[Outcome.BACKGROUND]),
    ("duplicate or difficult", COLOURS[Outcome.DUPLICATE]),
    ("missed", MISSED),
)
GAP = 12  # pixels


def episode_sheet(
    out: Path,
    *,
    title: str,
    class_names: Sequence[str],
    supports: Sequence[Sequence[tuple[Path, Sequence[float]]]],
    queries: Sequence[QueryPicture],
    min_score: float = 0.3,
    iou: float = 0.5,
    columns: int = 5,
) -> None:
    """Writes a PNG: the support boxes of every class on top, below the queries with what was found in them.

    Detections are coloured by VOC's rules among those shown; boxes that none of them finds are dashed, "missed".

    Args:
        title: a line, say method, shots and the episode's mAP.
        class_names: of the episode's classes, by class number.
        supports: by class, (image file, box) of its support boxes.
        min_score: detections below are left out.
        columns: queries in a row.

    Raises:
        ValueError: there is no query, or supports and class names differ in number.
        UnreadableImage (a ValueError): an image is not there, or damaged.
    """
    if not queries or len(supports) != len(class_names):
        raise UserError(
            f"a sheet needs queries and the supports of each class: {len(queries)} queries, {len(supports)} lists of "
            f"supports, {len(class_names)} classes"
        )
    columns = min(columns, len(queries))
    width = max(GAP + columns * (CELL + GAP), 900)
    support_band = _support_band(class_names, supports, width)
    cells = [query_cell(query, class_names, min_score, iou) for query in queries]
    rows = [cells[k : k + columns] for k in range(0, len(cells), columns)]
    heights = [max(cell.height for cell in row) for row in rows]
    top = 74
    sheet = Image.new("RGB", (width, top + support_band.height + sum(h + GAP for h in heights) + GAP), "white")
    draw = ImageDraw.Draw(sheet)
    draw_text(draw, (GAP, 10), title, 22)
    x = GAP
    for name, colour in LEGEND:
        draw.rectangle((x, 47, x + 14, 61), fill=colour)
        draw_text(draw, (x + 20, 45), name, 14)
        x += 44 + int(text_width(name, 14))
    draw_text(draw, (x, 45), f"scores from {min_score:.2f}", 14, (90, 90, 90))
    sheet.paste(support_band, (0, top))
    y = top + support_band.height
    for row, height in zip(rows, heights, strict=True):
        for k, cell in enumerate(row):
            sheet.paste(cell, (GAP + k * (CELL + GAP), y))
        y += height + GAP
    save_picture(sheet, out)


def precision_recall_plot(out: Path, curves: Mapping[str, Mapping[str, Any]], *, title: str) -> None:
    """Writes a PNG of precision over recall.

    Args:
        curves: by the name for the legend, {"recall", "precision"} as of `EpisodicMetric.curves()`, and perhaps "ap".

    Raises:
        ValueError: there is no curve.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if not curves:
        raise UserError("a plot of precision and recall needs at least one curve")
    figure = Figure(figsize=(7, 5), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    styles = ("-", "--", "-.", ":")
    for k, (name, curve) in enumerate(curves.items()):
        label = f"{name} (AP {curve['ap']:.3f})" if "ap" in curve else name
        axes.plot(curve["recall"], curve["precision"], styles[k % len(styles)], color=f"C{k}", label=label, linewidth=1.8)
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall", ylabel="precision", title=title)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower left", fontsize=9)
    save_plot(figure, out)


def pick(episode_map: np.ndarray, *, each: int = 2) -> dict[str, list[int]]:
    """Indices of episodes worth a look by mAP: `good`, the best first, `middle`, about the median, `bad`, the worst first.

    None is in two of them and NaN in none; with few episodes the good ones come first, then the bad ones.

    Args:
        each: how many of every kind.
    """
    values = np.asarray(episode_map, dtype=float)
    order = np.argsort(values, kind="stable")[: np.count_nonzero(~np.isnan(values))].tolist()  # NaN sorts last
    good = order[::-1][:each]
    bad = order[: min(each, len(order) - len(good))]
    between = order[len(bad) : len(order) - len(good)]
    start = max(0, (len(between) - each) // 2)
    return {"good": good, "middle": between[start : start + each], "bad": bad}


def _support_band(
    class_names: Sequence[str], supports: Sequence[Sequence[tuple[Path, Sequence[float]]]], width: int
) -> Image.Image:
    """Classes side by side: the name, and below it as many crops as fit."""
    group = (width - GAP) // len(class_names)
    across = max(1, (group - GAP) // (CROP + 4))
    lines = max(1, *(-(-len(boxes) // across) for boxes in supports))
    band = Image.new("RGB", (width, 30 + lines * (CROP + 4) + 2 * GAP), (238, 240, 243))
    draw = ImageDraw.Draw(band)
    for c, (name, boxes) in enumerate(zip(class_names, supports, strict=True)):
        x = GAP + c * group
        draw_text(draw, (x, 8), fit(f"{name} ({len(boxes)})", group - GAP, 16), 16)
        for k, (path, box) in enumerate(boxes):
            place = (x + k % across * (CROP + 4), 32 + k // across * (CROP + 4))
            band.paste(support_crop(open_rgb(path), box), place)
    below = Image.new("RGB", (width, band.height + GAP), "white")
    below.paste(band, (0, 0))
    return below
