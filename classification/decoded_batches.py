"""Images a batch at a time, decoded by several threads while a network looks at the batch before."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any

from PIL import Image

from repmet.data.readers.image_inputs import ImageInput
from repmet.errors import UserError


def batches(
    inputs: Iterable[ImageInput], look: Callable[[Image.Image], Any], batch_size: int, unreadable: list[str] | None
) -> Iterator[tuple[list[ImageInput], list[Any]]]:
    """Images and what `look` makes of their pictures.

    Args:
        inputs: a list, else a stream whose images come out one at a time, as soon as they are there.
        look: called in a thread.
        batch_size: images together.
        unreadable: takes what is wrong with images that cannot be read, which are then left out. None: the first one raises.

    Raises:
        ValueError, OSError: an image cannot be read, and `unreadable` is None.
    """
    several = isinstance(inputs, list)
    inputs = iter(inputs)
    pool = ThreadPoolExecutor(os.cpu_count() or 1)

    def begun() -> tuple[list[ImageInput], list[Future]]:
        batch = list(islice(inputs, batch_size if several else 1))
        return batch, [pool.submit(_looked_at, look, image, catch=unreadable is not None) for image in batch]

    try:
        batch, futures = begun()
        while batch:
            following = begun() if several else None  # decoded while the caller has this one
            looked = [future.result() for future in futures]
            if unreadable is not None:
                unreadable += [str(error) for error in looked if isinstance(error, Exception)]
            read = [pair for pair in zip(batch, looked, strict=True) if not isinstance(pair[1], Exception)]
            if read:
                yield [image for image, _ in read], [view for _, view in read]
            batch, futures = following or begun()
    finally:
        pool.shutdown(cancel_futures=True)


def _looked_at(look: Callable[[Image.Image], Any], image: ImageInput, *, catch: bool) -> Any:
    try:
        return look(image.open())
    except (UserError, OSError) as error:
        if not catch:
            raise
        return error
