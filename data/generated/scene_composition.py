"""Composition of one scene of generated characters: what is painted, where, and how much of it still shows.

The recipe: a tinted, textured sheet of paper with characters of 20 to 64 pixels (longer side of the box), turned by up to
30 degrees either way, each in a dark ink of its own, among single pen strokes that are clutter. Broad strokes painted over
cover up to 40 % of a character's ink. A character's box is the tight box of all its ink, covered or not.
"""

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from repmet.data.generated.glyphs import (
    Drawing,
    StrokeProgramme,
    execute,
    polyline,
    random_stroke,
    rasterise,
    stroke_programme,
)

# The recipe. Results are comparable only while it stands: whoever changes it raises FORMAT in glyph_scenes.py.
CHARACTER_SIDE = (20, 64)
ROTATION = 30.0
MAX_COVERED = 0.4
MAX_BOX_OVERLAP = 0.15  # intersection over the smaller box
COVERING_CHANCE = 0.3
CLUTTER_BELOW, CLUTTER_ABOVE = (2, 6), (0, 1)
MIN_CONTRAST = 75.0  # grey levels between ink and the ground under it


@dataclass(frozen=True)
class Scene:
    """image (S, S, 3) uint8 BGR; boxes (n, 4) int as x, y, width, height; class ids (n,); covered share of ink (n,)."""

    image: np.ndarray
    boxes: np.ndarray
    class_ids: tuple[int, ...]
    covered: np.ndarray


def compose(class_ids: tuple[int, ...], rng: np.random.Generator, *, size: int = 192, seed: int = 0) -> Scene:
    """Paint one scene that holds one character for each entry of `class_ids` (of the alphabet `seed`)."""
    image = _background(rng, size)
    for _ in range(rng.integers(CLUTTER_BELOW[0], CLUTTER_BELOW[1] + 1)):
        _paint(image, *_clutter_stroke(rng, size), rng)
    owner = np.full((size, size), -1, np.int8)  # which character's ink shows at a pixel
    boxes: list[tuple[int, int, int, int]] = []
    ink: list[int] = []
    for class_id in class_ids:
        mask, x, y = _place(_programme(class_id, seed), rng, size, boxes)
        _paint(image, mask, x, y, rng)
        solid = mask > 127
        owner[y : y + mask.shape[0], x : x + mask.shape[1]][solid] = len(boxes)
        boxes.append((x, y, mask.shape[1], mask.shape[0]))
        ink.append(int(solid.sum()))
    covers = [_covering_stroke(rng, box, size) for box in boxes if rng.random() < COVERING_CHANCE]
    covers += [_clutter_stroke(rng, size) for _ in range(rng.integers(CLUTTER_ABOVE[0], CLUTTER_ABOVE[1] + 1))]
    for mask, x, y in covers:
        candidate = owner.copy()
        candidate[y : y + mask.shape[0], x : x + mask.shape[1]][mask > 127] = -1
        if _covered(candidate, ink).max() <= MAX_COVERED:
            owner = candidate
            _paint(image, mask, x, y, rng)
    image += 4 * rng.standard_normal(image.shape, np.float32)
    return Scene(np.clip(image, 0, 255).astype(np.uint8), np.array(boxes), tuple(class_ids), _covered(owner, ink))


@cache
def _programme(class_id: int, seed: int) -> StrokeProgramme:
    return stroke_programme(class_id, seed)


def _place(
    programme: StrokeProgramme, rng: np.random.Generator, size: int, boxes: list[tuple[int, int, int, int]]
) -> tuple[np.ndarray, int, int]:
    """Ink of one character and a place (x, y) where it hardly overlaps the boxes that are there."""
    largest = CHARACTER_SIDE[1]
    while True:
        side = int(rng.integers(CHARACTER_SIDE[0], largest + 1))
        mask = rasterise(execute(programme, rng, rotation=ROTATION), side, fit=True)
        h, w = mask.shape
        for _ in range(30):
            x, y = int(rng.integers(size - w + 1)), int(rng.integers(size - h + 1))
            if all(_overlap((x, y, w, h), box) <= MAX_BOX_OVERLAP for box in boxes):
                return mask, x, y
        largest = max(CHARACTER_SIDE[0], largest - 8)  # a crowded scene: try a smaller one


def _overlap(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> float:
    """Intersection over the smaller area of two boxes (x, y, width, height)."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    return max(width, 0) * max(height, 0) / min(a[2] * a[3], b[2] * b[3])


def _covered(owner: np.ndarray, ink: list[int]) -> np.ndarray:
    """Share of each character's ink (n,) that does not show."""
    visible = np.bincount(owner[owner >= 0], minlength=len(ink))
    return 1 - visible / np.array(ink)


def _background(rng: np.random.Generator, size: int) -> np.ndarray:
    """A sheet of paper (size, size, 3) float32: a light tint with slow drifts, stripes and grain."""
    sheet = np.tile((rng.uniform(165, 235) + rng.uniform(-15, 15, 3)).astype(np.float32), (size, size, 1))
    drift = 10 * rng.standard_normal((5, 5, 3), np.float32)
    sheet += cv2.resize(drift, (size, size), interpolation=cv2.INTER_CUBIC)
    angle, period = rng.uniform(0, np.pi), rng.uniform(6, 40)
    y, x = np.mgrid[:size, :size].astype(np.float32)
    stripes = np.sin((x * np.cos(angle) + y * np.sin(angle)) * (2 * np.pi / period) + rng.uniform(0, 6))
    sheet += (rng.uniform(0, 12) * stripes)[..., None].astype(np.float32)
    grain = 8 * rng.standard_normal((size // 3, size // 3), np.float32)
    sheet += cv2.resize(grain, (size, size), interpolation=cv2.INTER_LINEAR)[..., None]
    return sheet


def _clutter_stroke(rng: np.random.Generator, size: int) -> tuple[np.ndarray, int, int]:
    """A single stroke, as thick and as long as those of characters, and its place."""
    stroke = random_stroke(rng)
    side = int(rng.integers(14, 70))
    drawing = Drawing((polyline(stroke.points, stroke.curved),), width=rng.uniform(1.5, 6) / side)
    mask = rasterise(drawing, side, fit=True)
    return mask, int(rng.integers(size - mask.shape[1] + 1)), int(rng.integers(size - mask.shape[0] + 1))


def _covering_stroke(rng: np.random.Generator, box: tuple[int, int, int, int], size: int) -> tuple[np.ndarray, int, int]:
    """A broad straight stroke across a character's box, and its place; parts outside the image are cut off."""
    x, y, w, h = box
    side = max(w, h)
    angle = rng.uniform(0, np.pi)
    ends = np.array([[-0.5], [0.5]]) * np.array([np.cos(angle), np.sin(angle)])  # (2, 2), unit length
    mask = rasterise(Drawing((ends,), width=rng.uniform(0.15, 0.3)), round(side * rng.uniform(0.9, 1.3)), fit=True)
    left = round(x + w * rng.uniform(0.15, 0.85) - mask.shape[1] / 2)
    top = round(y + h * rng.uniform(0.15, 0.85) - mask.shape[0] / 2)
    mask = mask[max(-top, 0) : size - top, max(-left, 0) : size - left]
    return mask, max(left, 0), max(top, 0)


def _paint(image: np.ndarray, mask: np.ndarray, x: int, y: int, rng: np.random.Generator) -> None:
    """Lay ink of a random colour, dark enough to be seen there, onto the image, in place."""
    window = image[y : y + mask.shape[0], x : x + mask.shape[1]]
    luminance = np.array([0.114, 0.587, 0.299])  # BGR
    ground = max(window.reshape(-1, 3).mean(axis=0) @ luminance, MIN_CONTRAST + 20)  # ink on ink may be no darker
    while True:
        colour = rng.uniform(0, 255, 3)
        if ground - colour @ luminance >= MIN_CONTRAST:
            break
    alpha = (mask.astype(np.float32) / 255)[..., None]
    window += alpha * (colour.astype(np.float32) - window)
