"""Pictures of what a classifier said: one image with its classes and nearest supports, and a page of many."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from repmet.classification.pictures.html_page import HtmlPage, figure
from repmet.classification.prediction import Prediction, Support
from repmet.data.files.lettering import legible, lettered
from repmet.data.files.pictures import contained
from repmet.errors import UserError

SIDE = 480  # pixels, the longest side of the image in a picture
SMALL = 160  # and on a page
CLASSES = 5  # shown of an answer


def prediction_picture(prediction: Prediction) -> Image.Image:
    """The image; beside it its most probable classes as bars; below them the nearest support images with their classes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    parts = figure.subplot_mosaic(
        [["image", *["bars"] * 3], ["image", *(f"support {k}" for k in range(3))]],
        width_ratios=[3, 1, 1, 1],
        height_ratios=[1.5, 1],
    )
    parts["image"].imshow(_small(prediction.image.open(), SIDE))
    parts["image"].set_title(_short(prediction.image.name, 48), fontsize=9)
    top = prediction.top(CLASSES)[::-1]
    bars = parts["bars"].barh([_short(name, 24) for name, _ in top], [p for _, p in top], color="#4a7fb5")
    parts["bars"].bar_label(bars, [f"{p:.2f}" for _, p in top], padding=3, fontsize=8)
    parts["bars"].set(xlim=(0, 1.12), xticks=[])
    parts["bars"].tick_params(labelsize=8)
    parts["bars"].set_title(_short(", ".join(prediction.names) or "none of the classes", 40), fontsize=11)
    for k in range(3):
        axis = parts[f"support {k}"]
        if k < len(prediction.nearest):
            axis.imshow(prediction.nearest[k].thumbnail)
            axis.set_title(f"{_short(prediction.nearest[k].label, 18)}\n{prediction.distances[k]:.2f}", fontsize=8)
    for name, axis in parts.items():
        if name != "bars":
            axis.axis("off")
    with lettered(figure):
        canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())


class PredictionPage:
    """A page of answers, `index.html` with small pictures in `page/` beside it, filled one answer after another.

    Args:
        folder: as of `HtmlPage`.
        limit: answers shown at most.
    """

    def __init__(self, folder: Path, limit: int = 500) -> None:
        self.folder, self.limit = folder, limit
        self.rows: list[str] = []
        self.supports: dict[tuple[str, str], str] = {}
        self.left_out = 0
        self.page = HtmlPage(folder)

    def add(self, prediction: Prediction) -> None:
        if len(self.rows) >= self.limit:
            self.left_out += 1
            return
        try:
            picture = _small(prediction.image.open(), SMALL)
        except (UserError, OSError):  # an address that answered once and not again; the answer itself is there
            name = ""
        else:
            name = self.page.picture(picture, f"image_{len(self.rows):05d}")
        answer = ", ".join(prediction.names) or "none of the classes"
        others = "".join(f"<br><small>{html.escape(c)} {p:.2f}</small>" for c, p in prediction.top(CLASSES))
        nearest = "".join(
            figure(self._support(support), f"{support.label} {distance:.2f}", support.name)
            for support, distance in zip(prediction.nearest, prediction.distances, strict=True)
        )
        self.rows.append(
            f'<tr><td><img src="{name}" alt=""><br><small>{html.escape(prediction.image.name)}</small></td>'
            f"<td><b>{html.escape(answer)}</b>{others}</td><td>{nearest}</td></tr>"
        )

    def write(self, title: str, lines: Sequence[str] = (), pictures: Sequence[tuple[str, str]] = ()) -> Path:
        """Writes the page.

        Args:
            lines: above the answers. pictures: (file beside the page, what it shows), above them too.
        """
        shown = "".join(f"<p>{html.escape(line)}</p>" for line in lines)
        shown += "".join(f'<h2>{html.escape(text)}</h2><img src="{file}" alt="">' for file, text in pictures)
        if self.left_out:
            shown += f"<p>{self.left_out} more images are in predictions.csv.</p>"
        head = "<tr><th>image</th><th>class</th><th>nearest support images</th></tr>"
        return self.page.write(title, f"{shown}<table>{head}{''.join(self.rows)}</table>")

    def _support(self, support: Support) -> str:
        key = (support.name, support.label)
        if key not in self.supports:
            file = self.page.picture(Image.fromarray(support.thumbnail), f"support_{len(self.supports):05d}")
            self.supports[key] = file
        return self.supports[key]


def _small(picture: Image.Image, side: int) -> Image.Image:
    return contained(picture, side) if max(picture.size) > side else picture


def _short(name: str, length: int) -> str:
    name = legible(name)
    return name if len(name) <= length else "…" + name[1 - length :]
