"""The picture of what was found in one image: boxes with class and score, and the supports that they resemble."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from repmet.data.files.lettering import draw_text
from repmet.detection.pictures.drawing import CROP, TAG, Colour, fit, tag

if TYPE_CHECKING:
    from repmet.detection.results import Detections

PALETTE: tuple[Colour, ...] = (
    (230, 60, 60), (40, 120, 230), (30, 170, 80), (245, 150, 20), (150, 70, 200),
    (0, 170, 180), (220, 80, 160), (130, 130, 20), (110, 80, 60), (90, 110, 140),
)  # fmt: skip
SIDE = 900  # pixels, the longest side of a picture
MOST_CROPS = 12
GAP = 6


def found_picture(detections: Detections, *, min_score: float = 0.3) -> Image.Image:
    """Draws what was found with at least `min_score`, the best on top; below, the nearest support of the best ones.

    Args:
        detections: of an image, best first.
    """
    classes, (width, height) = detections.classes, detections.size
    scale = min(1.0, SIDE / max(width, height))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    picture = detections.open(least=size).resize(size)
    shown = np.flatnonzero(detections.scores >= min_score)
    draw = ImageDraw.Draw(picture)
    for k in shown[::-1]:
        box = detections.boxes[k] * scale
        box[2:] = np.maximum(box[:2], box[2:])  # Pillow draws no box that ends before it begins
        draw.rectangle(box.tolist(), outline=_colour(detections.labels[k]), width=3)
    taken: list[tuple[float, float, float]] = []
    for k in shown:
        x, y = detections.boxes[k][:2] * scale
        number = "" if detections.tracks is None or detections.tracks[k] < 0 else f" #{detections.tracks[k]}"
        text = f"{fit(classes[detections.labels[k]], 140, 12)}{number} {detections.scores[k]:.2f}"
        taken.append(tag(draw, (x, y - TAG), text, _colour(detections.labels[k]), picture.size, taken))
    if detections.supports is None or not len(shown):
        return picture
    return _with_supports(picture, detections, shown[:MOST_CROPS])


def _with_supports(picture: Image.Image, detections: Detections, shown: np.ndarray) -> Image.Image:
    """The picture with a band below it: for every box the crop of its nearest support, framed in the box's colour."""
    cell = CROP + GAP
    width = max(picture.width, cell + GAP)
    across = (width - GAP) // cell
    lines = -(-len(shown) // across)
    sheet = Image.new("RGB", (width, picture.height + lines * (cell + 2 * TAG) + GAP), "white")
    sheet.paste(picture, (0, 0))
    draw = ImageDraw.Draw(sheet)
    for place, k in enumerate(shown):
        x = GAP + place % across * cell
        y = picture.height + GAP + place // across * (cell + 2 * TAG)
        crop = Image.fromarray(detections.supports[detections.nearest[k]]).resize((CROP, CROP))
        sheet.paste(crop, (x, y))
        draw.rectangle((x, y, x + CROP - 1, y + CROP - 1), outline=_colour(detections.labels[k]), width=3)
        draw_text(draw, (x, y + CROP), fit(detections.classes[detections.labels[k]], CROP, 12), 12)
        draw_text(draw, (x, y + CROP + TAG), f"{detections.scores[k]:.2f}", 12, (90, 90, 90))
    return sheet


def _colour(label: int) -> Colour:
    return PALETTE[int(label) % len(PALETTE)]
