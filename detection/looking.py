"""Images on their way to a detector, a few of one size together. Nothing here imports torch."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from numbers import Real

import numpy as np

from repmet.data.readers.image_inputs import ImageInput
from repmet.detection.episodes.open_image import OpenImage
from repmet.detection.scoring.detections import Detections
from repmet.errors import UserError

AHEAD = 3  # images that are read before their turn: of 12 megapixels they take 36 MB each
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
    for number, (image, read) in enumerate(_read(inputs)):
        try:
            record = read()
        except (UserError, OSError) as error:
            if unreadable is None:
                raise
            unreadable.append(str(error))
            continue
        if run and (run[0][1].width, run[0][1].height) != (record.width, record.height):
            yield run
            run = []
        run.append((image, replace(record, id=f"{number}: {image.name}")))  # a name may come twice
        if len(run) == together:
            yield run
            run = []
    if run:
        yield run


def _read(inputs: Iterable[ImageInput]) -> Iterator[tuple[ImageInput, Callable[[], OpenImage]]]:
    """The images, each with a call that gives its picture or raises what was wrong with it.

    Those of a list are read by a thread while the network looks at the ones before, at most `AHEAD` of them; a camera's when
    their turn comes.
    """
    if not isinstance(inputs, list) or len(inputs) == 1:
        for image in inputs:
            yield image, partial(_record, image)
        return
    pool, waiting = ThreadPoolExecutor(1, "reading"), deque[tuple[ImageInput, Future[OpenImage]]]()
    try:
        for image in inputs:
            waiting.append((image, pool.submit(_record, image)))
            if len(waiting) > AHEAD:
                first, future = waiting.popleft()
                yield first, future.result
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result
    finally:  # also where nobody asks for the rest
        pool.shutdown(wait=False, cancel_futures=True)


def _record(image: ImageInput) -> OpenImage:
    return OpenImage.of(image.name, image.open())
