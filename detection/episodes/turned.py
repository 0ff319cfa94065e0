"""An image turned and mirrored, with its boxes."""

import numpy as np

VIEWS = (1, 2, 8)  # of a support image: as it is, with its mirror image, with all quarter turns too


def view(image: np.ndarray, boxes: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
    """View `number` in 0..7 of an image (H, W, 3) and its boxes (G, 4): `number // 2` quarter turns against the clock, and
    mirrored where the number is odd. View 0 is the image as it is."""
    for _ in range(number // 2):
        width = image.shape[1]
        image = np.rot90(image)
        x1, y1, x2, y2 = boxes.T
        boxes = np.stack([y1, width - x2, y2, width - x1], 1)
    if number % 2:
        width = image.shape[1]
        image = image[:, ::-1]
        x1, y1, x2, y2 = boxes.T
        boxes = np.stack([width - x2, y1, width - x1, y2], 1)
    return np.ascontiguousarray(image), boxes
