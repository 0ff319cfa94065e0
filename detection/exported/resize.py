"""Pictures scaled as OpenCV scales them, bilinear and bit for bit, without OpenCV.

A detector's scores hang on the pixels that it sees. The trained ones were scaled by `cv2.resize`, whose arithmetic is whole
numbers: weights of 11 bits in each direction, the product rounded at its end. Pillow's bilinear filter is another function.

Shapes: H, W height and width before, h, w after.
"""

import numpy as np

BITS = 11
ONE = 1 << BITS


def fitted_size(width: int, height: int, size: int) -> tuple[int, int]:
    """Width and height of a picture scaled so that it just fits into `size` x `size` pixels, as mmcv rounds them."""
    scale = min(size / max(width, height), size / min(width, height))
    return int(width * scale + 0.5), int(height * scale + 0.5)


def resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W, 3) uint8 -> (h, w, 3), `cv2.resize(image, size)`.

    Args:
        size: w and h.
    """
    width, height = size
    if image.shape[:2] == (height, width):
        return image
    if image.shape[:2] == (2 * height, 2 * width):  # where OpenCV takes the mean of four pixels
        pairs = image[::2].astype(np.uint16) + image[1::2]
        return ((pairs[:, ::2] + pairs[:, 1::2] + 2) >> 2).astype(np.uint8)
    (above, below), down = _taps(image.shape[0], height, edge=False)
    (left, right), along = _taps(image.shape[1], width, edge=True)
    needed, place = np.unique(np.stack([above, below]), return_inverse=True)
    flat = image[needed].reshape(len(needed), -1)  # (n, W * 3)
    channels = image.shape[2]
    lines = _at(flat, left, along[0], channels) + _at(flat, right, along[1], channels)  # (n, w * 3), 11 bits more
    lines >>= 4  # OpenCV drops 4 bits of the lines, and 16 of each product before it adds them up
    first, second = (lines[rows] * weights[:, None] for rows, weights in zip(place.reshape(2, -1), down, strict=True))
    total = (first >> 16) + (second >> 16) + 2
    return (total >> 2).astype(np.uint8).reshape(height, width, channels)


def _at(lines: np.ndarray, columns: np.ndarray, weights: np.ndarray, channels: int) -> np.ndarray:
    """The pixels of some columns, each times its weight, as int32."""
    at = (columns[:, None] * channels + np.arange(channels)).ravel()
    return lines.take(at, 1) * np.repeat(weights, channels)


def _taps(before: int, after: int, *, edge: bool) -> tuple[np.ndarray, np.ndarray]:
    """The two pixels that each new one lies between, (2, after), and their weights in units of 1 / 2048, int32.

    Args:
        edge: beyond the outermost pixels' centres the first of the two has all the weight; else the two are one pixel, whose
            shares are rounded apart.
    """
    scale = 1 / (after / before)
    at = ((np.arange(after) + 0.5) * scale - 0.5).astype(np.float32)
    first = np.floor(at).astype(np.int64)
    share = at - first.astype(np.float32)
    if edge:
        share[(first < 0) | (first >= before - 1)] = 0
    weights = np.rint(np.stack([1 - share, share]) * np.float32(ONE)).astype(np.int32)
    return np.stack([first, first + 1]).clip(0, before - 1), weights
