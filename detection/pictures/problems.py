"""A page of supports that something is wrong with: each crop with its class and the problem beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

from repmet.data.files.lettering import draw_text
from repmet.detection.pictures.drawing import CROP, fit, support_crop

if TYPE_CHECKING:
    from repmet.detection.examining import SupportProblem

GAP, WIDTH, SIZE = 8, 900, 14


def problem_page(crops: Sequence[tuple[SupportProblem, Image.Image]]) -> Image.Image:
    """One row a problem.

    Args:
        crops: problems that have a box, each with its whole image.
    """
    row = CROP + GAP
    page = Image.new("RGB", (WIDTH, GAP + row * len(crops)), "white")
    draw = ImageDraw.Draw(page)
    for k, (problem, image) in enumerate(crops):
        top = GAP + k * row
        page.paste(support_crop(image, problem.box), (GAP, top))
        left = 2 * GAP + CROP
        for line, text in enumerate((problem.name, problem.said, str(problem.image))):
            draw_text(draw, (left, top + 4 + line * 24), fit(text, WIDTH - left - GAP, SIZE), size=SIZE, fill=(20, 20, 20))
    return page
