"""Images on their way to a detector, a few of one size together. Nothing here imports torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from numbers import Real

import numpy as np

from repmet.data.readers.image_inputs import ImageInput
from repmet.detection.episodes.open_image import OpenImage
from repmet.detection.scoring.detections import Detections
from repmet.errors import UserError

Opened = tuple[ImageInput, OpenImage]
Found = tuple[Detections, np.ndarray]  # and the number of the nearest support of each, -1 for none
Look = Callable[[list[OpenImage]], list[Found]]


def check_min_score(min_score: object) -> None:
    """Raises ValueError for what is no score; None is one, of each class its own."""
    if min_score is not None and not (isinstance(min_score, Real) and 0 <= min_score <= 1):
        raise UserError(f"min_score is in [0, 1], not {min_score!r}")


def looked_at(
    inputs: Iterable[ImageInput], together: int, look: Look, unreadable: list[str] | None = None
) -> Iterator[tuple[ImageInput, OpenImage, Found]]:
    """Every image with what is found in it, in their order.

    Args:
        together: images of one size that are looked at together, at most.
        look: finds in such images; a UserError says that one of them cannot be looked at.
        unreadable: takes a line for each image that cannot be read or looked at, which is then passed over.

    Raises:
        ValueError, ConnectionError: without `unreadable`, the first of these; when its turn comes.
    """
    for run in runs_of_one_size(inputs, together, unreadable):
        for (image, record), result in zip(run, _each(look, [record for _, record in run], unreadable), strict=True):
            if result is not None:
                yield image, record, result


def _each(look: Look, records: list[OpenImage], unreadable: list[str] | None) -> list[Found | None]:
    """What is found in the images of a run; one that cannot be looked at takes none of the others with it."""
    try:
        return list(look(records))
    except UserError as error:
        if unreadable is None:
            raise
        if len(records) > 1:
            return [_each(look, [record], unreadable)[0] for record in records]
        unreadable.append(str(error))
        return [None]


def runs_of_one_size(
    inputs: Iterable[ImageInput], together: int, unreadable: list[str] | None = None
) -> Iterator[list[Opened]]:
    """The images in their order, at most `together` at a time and only of one size.

    Padding to a common size would make what a network says of an image depend on its company.

    Args:
        unreadable: takes a line for each image that cannot be read, which is then passed over.

    Raises:
        ValueError, ConnectionError: without `unreadable`, an image cannot be read; when its turn comes.
    """
    run: list[Opened] = []
    for number, image in enumerate(inputs):
        try:
            shown = image.open()
        except (UserError, OSError) as error:
            if unreadable is None:
                raise
            unreadable.append(str(error))
            continue
        if run and (run[0][1].width, run[0][1].height) != shown.size:
            yield run
            run = []
        record = OpenImage.of(image.name, shown)
        run.append((image, replace(record, id=f"{number}: {image.name}")))  # a name may come twice
        if len(run) == together:
            yield run
            run = []
    if run:
        yield run
