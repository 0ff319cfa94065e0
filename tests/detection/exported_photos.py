"""The shipped detector, exported once for all tests, and images to look at."""

import numpy as np
from PIL import Image, ImageDraw

SIZES = ((320, 240), (200, 333), (500, 380), (96, 96))


def scenes(sizes=SIZES) -> list[np.ndarray]:
    """Images (H, W, 3) of discs and boxes on a soft ground, of several sizes."""
    drawn = []
    for number, (width, height) in enumerate(sizes):
        generator = np.random.default_rng(number)
        ground = generator.integers(60, 200, (height // 16 + 1, width // 16 + 1, 3), np.uint8)
        image = Image.fromarray(ground).resize((width, height), Image.Resampling.BICUBIC)
        draw = ImageDraw.Draw(image)
        for box in marks(number, width, height):
            colour = tuple(generator.integers(0, 256, 3).tolist())
            (draw.ellipse if box[0] % 2 else draw.rectangle)(box, fill=colour, outline=(10, 10, 10))
        drawn.append(np.asarray(image))
    return drawn


def marks(number: int, width: int, height: int) -> list[list[int]]:
    """Boxes of the things in scene `number`, x1, y1, x2, y2."""
    generator = np.random.default_rng(100 + number)
    boxes = []
    for _ in range(5):
        w, h = generator.integers(min(width, height) // 6, min(width, height) // 3, 2)
        x, y = generator.integers(0, width - w), generator.integers(0, height - h)
        boxes.append([int(x), int(y), int(x + w), int(y + h)])
    return boxes
