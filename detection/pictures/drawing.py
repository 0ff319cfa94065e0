"""The parts of a sheet of pictures: support crops, query images with coloured boxes, and their labels."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from repmet.data.files.lettering import draw_text, legible, text_width
from repmet.data.files.pictures import open_rgb
from repmet.detection.metrics import Outcome
from repmet.detection.metrics.layout import GroundTruth, ScoredBoxes
from repmet.detection.metrics.matching import match
from repmet.detection.scoring.detections import Detections

Colour = tuple[int, int, int]
COLOURS: Mapping[Outcome, Colour] = {
    Outcome.RIGHT: (30, 200, 90),
    Outcome.WRONG_CLASS: (255, 165, 0),
    Outcome.BACKGROUND: (230, 40, 50),
    Outcome.DUPLICATE: (150, 150, 150),
    Outcome.IGNORED: (150, 150, 150),
}
MISSED: Colour = (60, 150, 255)
CELL, CROP, TAG = 280, 96, 15  # pixels: side of a query, side of a support crop, height of a label
CONTEXT = 0.2  # of a support box's size, shown around it
BRIGHT = 330  # sum of a colour's channels from which text on it is black


@dataclass(frozen=True, kw_only=True)
class QueryPicture:
    """One query slot: its file, its m boxes (m, 4) with class numbers and `difficult` (m,), its detections, and the class
    under which it is a query."""

    path: Path
    boxes: np.ndarray
    labels: np.ndarray
    detections: Detections
    listed_under: int
    difficult: np.ndarray | None = None


def support_crop(image: Image.Image, box: Sequence[float]) -> Image.Image:
    """A support box with some of what is around it, at most `CROP` pixels, the box in white."""
    x1, y1, x2, y2 = box
    margin = CONTEXT * max(x2 - x1, y2 - y1)
    left, top = (min(max(0, side - margin), last - 1) for side, last in ((x1, image.width), (y1, image.height)))
    right, bottom = min(image.width, x2 + margin), min(image.height, y2 + margin)
    area = (round(left), round(top), max(round(right), round(left) + 1), max(round(bottom), round(top) + 1))
    crop = image.crop(area)
    scale = CROP / max(crop.size)
    tile = Image.new("RGB", (CROP, CROP), (238, 240, 243))
    resized = crop.resize((max(1, round(crop.width * scale)), max(1, round(crop.height * scale))))
    corner = ((CROP - resized.width) // 2, (CROP - resized.height) // 2)
    tile.paste(resized, corner)
    outline = [(x1 - left) * scale, (y1 - top) * scale, (x2 - left) * scale, (y2 - top) * scale]
    # Of a box at the border of the image the line lies on its last pixels.
    shifted = [min(side, resized.size[k % 2] - 1) + corner[k % 2] for k, side in enumerate(outline)]
    shifted[2:] = [max(end, start) for start, end in zip(shifted[:2], shifted[2:], strict=True)]
    ImageDraw.Draw(tile).rectangle(shifted, outline=(255, 255, 255), width=1)
    return tile


def query_cell(query: QueryPicture, class_names: Sequence[str], min_score: float, iou: float) -> Image.Image:
    """The query at `CELL` pixels with its boxes, and a line below it."""
    detections = query.detections.above(min_score)
    hard = np.zeros(len(query.boxes), dtype=bool) if query.difficult is None else np.asarray(query.difficult, dtype=bool)
    shown = ScoredBoxes(np.zeros(len(detections), int), detections.labels, detections.scores, detections.boxes)
    truth = GroundTruth(np.zeros(len(hard), int), np.asarray(query.labels), np.asarray(query.boxes), hard)
    matches = match(shown, truth, iou=iou, plus_one=True)
    image = open_rgb(query.path)
    scale = CELL / max(image.size)
    picture = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))
    draw = ImageDraw.Draw(picture)
    tags = []
    missed = (matches.hit_score == 0) & ~hard
    for box, label in zip(truth.boxes[missed] * scale, truth.label[missed], strict=True):
        dashed(draw, box, MISSED)
        tags.append((box[0], box[3], class_names[label], "", MISSED))
    for k in np.lexsort((shown.score, matches.outcome == Outcome.RIGHT)):  # right ones last, so on top
        colour = COLOURS[Outcome(matches.outcome[k])]
        box = shown.boxes[k] * scale
        box[2:] = np.maximum(box[:2], box[2:])  # Pillow draws no box that ends before it begins
        draw.rectangle(box.tolist(), outline=colour, width=3 if matches.outcome[k] == Outcome.RIGHT else 2)
        tags.append((box[0], box[1] - TAG, class_names[shown.label[k]], f" {shown.score[k]:.2f}", colour))
    taken: list[tuple[float, float, float]] = []
    for x, y, name, score, colour in reversed(tags):  # the most important ones choose their places first
        taken.append(tag(draw, (x, y), fit(name, 90, 12) + score, colour, picture.size, taken))
    right = int(np.count_nonzero(matches.outcome == Outcome.RIGHT))
    line = f"for {class_names[query.listed_under]}: {right} of {np.count_nonzero(~hard)} found"
    cell = Image.new("RGB", (CELL, picture.height + 20), "white")
    cell.paste(picture, (0, 0))
    draw_text(ImageDraw.Draw(cell), (0, picture.height + 2), fit(line, CELL, 13), 13, (60, 60, 60))
    return cell


def tag(
    draw: ImageDraw.ImageDraw,
    place: tuple[float, float],
    text: str,
    colour: Colour,
    size: tuple[int, int],
    taken: Sequence[tuple[float, float, float]],
) -> tuple[float, float, float]:
    """Draws text on a filled ground, inside the picture and, where there is room, below the tags that are in its way.

    Returns:
        Its left and right end and its top, for `taken` of the next.
    """
    width = text_width(text, 12) + 4
    left = max(0.0, min(place[0], size[0] - width))
    wanted = max(0.0, min(place[1], size[1] - TAG))
    tops = [wanted, *np.arange(wanted, size[1] - TAG, 4), *np.arange(wanted, 0, -4)]
    near = [y for start, end, y in taken if left < end and start < left + width]
    free = [t for t in tops if all(abs(t - y) >= TAG for y in near)]
    top = float(free[0] if free else wanted)
    draw.rectangle((left, top, left + width, top + TAG), fill=colour)
    draw_text(draw, (left + 2, top), text, 12, "black" if sum(colour) > BRIGHT else "white")
    return left, left + width, top


def dashed(draw: ImageDraw.ImageDraw, box: np.ndarray, colour: Colour, dash: int = 6) -> None:
    """A dashed box, 3 pixels wide."""
    x1, y1, x2, y2 = box
    for start in np.arange(x1, x2, 2 * dash):
        for y in (y1, y2):
            draw.line((start, y, min(start + dash, x2), y), fill=colour, width=3)
    for start in np.arange(y1, y2, 2 * dash):
        for x in (x1, x2):
            draw.line((x, start, x, min(start + dash, y2)), fill=colour, width=3)


def fit(text: str, width: int, size: int) -> str:
    """The text, shortened to fit `width` pixels."""
    text = legible(text)
    while len(text) > 4 and text_width(text, size) > width:
        text = textwrap.shorten(text, len(text) - 1, placeholder="…") if " " in text else text[:-2] + "…"
    return text
