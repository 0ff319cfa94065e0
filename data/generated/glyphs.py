"""Handwritten-like characters, generated: as many classes as one asks for, and nothing to download.

The idea is Omniglot's (Lake, Salakhutdinov and Tenenbaum, "Human-level concept learning through probabilistic program
induction", 2015): a class is a short programme of pen strokes and a sample is one hurried execution of it. Here a class
is a `StrokeProgramme` drawn at random from (seed, class id); a sample moves its control points a little, bends the
whole by a small affine map, and changes the pen's width.

Coordinates are (x, y) in the unit square, y downwards. Everything is a function of the seed, the class id and the
sample's number alone, so class 7 is the same character whether 8 or 8000 classes are asked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from repmet.errors import UserError

SAMPLES_PER_SEGMENT = 10
SUPERSAMPLING = 4
# Streams of random numbers that must not meet: programmes and their samples.
_PROGRAMME_STREAM, _SAMPLE_STREAM = 1, 2


@dataclass(frozen=True)
class Stroke:
    """One pen stroke: control points (n, 2), joined by straight lines or by a smooth curve through all of them."""

    points: np.ndarray
    curved: bool


@dataclass(frozen=True)
class StrokeProgramme:
    """A character class: its strokes, fitted to the unit square, and the pen's width in the same unit."""

    strokes: tuple[Stroke, ...]
    width: float


@dataclass(frozen=True)
class Drawing:
    """One execution of a programme: polylines (m, 2) in its coordinates (they may leave the unit square)."""

    lines: tuple[np.ndarray, ...]
    width: float


def stroke_programme(class_id: int, seed: int = 0) -> StrokeProgramme:
    """The character class `class_id` of the alphabet `seed`; raises ValueError for a negative number."""
    if class_id < 0 or seed < 0:
        raise UserError(f"class_id and seed count from 0, got class_id={class_id}, seed={seed}")
    rng = np.random.default_rng((_PROGRAMME_STREAM, seed, class_id))
    while True:  # a programme that is all but a single line is too easily taken for another one: draw again
        strokes = _random_strokes(rng)
        lines = [polyline(stroke.points, stroke.curved) for stroke in strokes]
        low = np.min([line.min(axis=0) for line in lines], axis=0)
        extent = np.max([line.max(axis=0) for line in lines], axis=0) - low
        ink = sum(np.linalg.norm(np.diff(line, axis=0), axis=1).sum() for line in lines) / extent.max()
        if extent.min() >= 0.55 * extent.max() and 2.0 <= ink <= 5.0:
            break
    offset = (1 - extent / extent.max()) / 2
    fitted = tuple(Stroke((s.points - low) / extent.max() + offset, s.curved) for s in strokes)
    return StrokeProgramme(fitted, width=rng.uniform(0.07, 0.10))


def execute(
    programme: StrokeProgramme,
    rng: np.random.Generator,
    *,
    jitter: float = 0.035,
    rotation: float = 15.0,
    shear: float = 0.2,
    stretch: float = 0.15,
    shift: float = 0.06,
) -> Drawing:
    """Draw a programme once by an unsteady hand.

    jitter: standard deviation of the control points' and the strokes' displacements, in widths of the character;
    rotation: largest turn in degrees, either way; shear, stretch: largest shear and relative change of each side;
    shift: largest displacement of the whole, per coordinate.
    """
    turn = np.deg2rad(rng.uniform(-rotation, rotation))
    rotate = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    slant = np.array([[1.0, rng.uniform(-shear, shear)], [0.0, 1.0]])
    affine = rotate @ slant @ np.diag(1 + rng.uniform(-stretch, stretch, 2))
    centre = 0.5 + rng.uniform(-shift, shift, 2)
    lines = []
    for stroke in programme.strokes:
        moved = stroke.points + rng.normal(0, jitter, 2) + rng.normal(0, jitter, stroke.points.shape)
        lines.append((polyline(moved, stroke.curved) - 0.5) @ affine.T + centre)
    return Drawing(tuple(lines), programme.width * rng.uniform(0.8, 1.25))


def rasterise(drawing: Drawing, size: int, *, fit: bool = False, margin: float = 0.1) -> np.ndarray:
    """Ink of a drawing, anti-aliased, uint8, 0 paper to 255 ink.

    fit=False: (size, size), the unit square shrunk by `margin` on each side; a stroke that leaves the canvas is cut.
    fit=True: the array that just holds the ink, its longer side `size` pixels.
    """
    if size < 4:
        raise UserError(f"size is the side in pixels and at least 4, got {size}")
    side = size * SUPERSAMPLING
    if not fit:
        canvas = _ink(drawing, side * (1 - 2 * margin), np.full(2, side * margin), (side, side))
        return cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA)
    low = np.min([line.min(axis=0) for line in drawing.lines], axis=0) - drawing.width
    extent = np.max([line.max(axis=0) for line in drawing.lines], axis=0) + drawing.width - low
    scale = side / extent.max()
    width, height = np.ceil(extent * scale).astype(int)
    canvas = _ink(drawing, scale, -low * scale, (height, width))
    x, y, w, h = cv2.boundingRect(canvas)
    shape = tuple(max(1, round(edge * size / max(w, h))) for edge in (w, h))
    return cv2.resize(canvas[y : y + h, x : x + w], shape, interpolation=cv2.INTER_AREA)


def _ink(drawing: Drawing, scale: float, offset: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Black-and-white canvas of `shape` (H, W) with the drawing's lines at `scale` pixels a unit, moved by `offset`."""
    canvas = np.zeros(shape, np.uint8)
    pen = max(1, round(drawing.width * scale))
    # OpenCV takes fixed-point coordinates (here 4 fractional bits) of pixel centres, hence the half pixel.
    fixed = [np.rint((line * scale + offset - 0.5) * 16).astype(np.int32).reshape(-1, 1, 2) for line in drawing.lines]
    cv2.polylines(canvas, fixed, isClosed=False, color=255, thickness=pen, lineType=cv2.LINE_8, shift=4)
    return canvas


def draw(programme: StrokeProgramme, size: int, rng: np.random.Generator) -> np.ndarray:
    """One sample of a class: ink mask (size, size), uint8, 0 paper to 255 ink."""
    return rasterise(execute(programme, rng), size)


def glyph_images(
    classes: int | Sequence[int], per_class: int = 20, size: int = 28, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Samples of many classes: ink masks (N, size, size) uint8 and labels (N,) int64, class by class.

    classes: a number (classes 0 .. number-1) or the class ids themselves; labels are the class ids. Sample k of a class
    is the same for every `per_class`.
    """
    ids = list(range(classes)) if isinstance(classes, int) else [int(c) for c in classes]
    if not ids or per_class < 1:
        raise UserError(f"at least one class and one sample a class, got {len(ids)} classes and per_class={per_class}")
    images = np.empty((len(ids) * per_class, size, size), np.uint8)
    for i, class_id in enumerate(ids):
        programme = stroke_programme(class_id, seed)
        for k in range(per_class):
            rng = np.random.default_rng((_SAMPLE_STREAM, seed, class_id, k))
            images[i * per_class + k] = draw(programme, size, rng)
    return images, np.repeat(np.asarray(ids, np.int64), per_class)


def random_stroke(rng: np.random.Generator) -> Stroke:
    """A line, a corner, a curve or an arc somewhere in the unit square."""
    kind = rng.choice(["line", "corner", "curve", "arc"], p=[0.3, 0.15, 0.25, 0.3])
    if kind == "arc":
        return Stroke(_arc(rng), curved=True)
    return Stroke(_spread_points(rng, {"line": 2, "corner": 3, "curve": 4}[kind]), curved=kind == "curve")


def _random_strokes(rng: np.random.Generator) -> list[Stroke]:
    """Two to four strokes; most of them begin on ink that is already there, as in written characters."""
    strokes: list[Stroke] = []
    for _ in range(rng.choice([2, 3, 4], p=[0.35, 0.45, 0.2])):
        stroke = random_stroke(rng)
        if strokes and rng.random() < 0.65:
            other = strokes[rng.integers(len(strokes))]
            ink = polyline(other.points, other.curved)
            shift = ink[rng.integers(len(ink))] - stroke.points[0]
            stroke = Stroke(stroke.points + shift, stroke.curved)
        strokes.append(stroke)
    return strokes


def _spread_points(rng: np.random.Generator, count: int) -> np.ndarray:
    """Points (count, 2) in the unit square, each at least 0.4 from the one before, so that no stroke is a dot."""
    points = [rng.uniform(0, 1, 2)]
    while len(points) < count:
        point = rng.uniform(0, 1, 2)
        if np.linalg.norm(point - points[-1]) >= 0.4:
            points.append(point)
    return np.array(points)


def _arc(rng: np.random.Generator) -> np.ndarray:
    """Six points on a part (150 to 360 degrees) of an ellipse, begun anywhere, in either direction."""
    start = rng.uniform(0, 2 * np.pi)
    sweep = np.deg2rad(rng.uniform(150, 360)) * rng.choice([-1, 1])
    angle = start + np.linspace(0, sweep, 6)
    return rng.uniform(0.3, 0.7, 2) + rng.uniform(0.2, 0.45, 2) * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def polyline(points: np.ndarray, curved: bool) -> np.ndarray:
    """The stroke as a polyline (m, 2): the points themselves, or a Catmull-Rom spline through them."""
    if not curved:
        return points
    padded = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    p0, p1, p2, p3 = padded[:-3], padded[1:-2], padded[2:-1], padded[3:]  # (n - 1, 2) each: one row a segment
    t = np.linspace(0, 1, SAMPLES_PER_SEGMENT, endpoint=False)[:, None, None]  # (T, 1, 1)
    spline = 0.5 * (
        2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * p1 - p0 - 3 * p2 + p3) * t**3
    )  # (T, n - 1, 2)
    return np.concatenate([spline.transpose(1, 0, 2).reshape(-1, 2), points[-1:]])
