"""A box as Label Studio has it: a region whose sides are percentages of the upright image."""

from __future__ import annotations

from typing import Any


def region(
    number: int,
    box: tuple[float, float, float, float],
    name: str,
    score: float,
    size: tuple[int, int],
    from_name: str = "label",
    to_name: str = "image",
) -> dict[str, Any]:
    """A box x1, y1, x2, y2 in pixels of an image of `size`, width and height, as a part of a prediction's result.

    Args:
        number: of the region in its result.
        from_name, to_name: of the tags RectangleLabels and Image in the labelling interface.
    """
    (x1, y1, x2, y2), (width, height) = box, size
    sides = {"x": x1 / width, "y": y1 / height, "width": (x2 - x1) / width, "height": (y2 - y1) / height}
    return {
        "id": f"repmet{number}",
        "from_name": from_name,
        "to_name": to_name,
        "type": "rectanglelabels",
        "score": score,
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "value": {side: 100 * share for side, share in sides.items()} | {"rotation": 0, "rectanglelabels": [name]},
    }
