"""Images a batch at a time, decoded by several threads while a network looks at the batch before."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import Any

import torch
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
    together = batch_size if isinstance(inputs, list) else 1
    inputs = iter(inputs)
    with ThreadPoolExecutor(max(1, torch.get_num_threads())) as pool:
        while batch := list(islice(inputs, together)):
            looked = list(pool.map(partial(_looked_at, look, catch=unreadable is not None), batch))
            if unreadable is not None:
                unreadable += [str(error) for error in looked if isinstance(error, Exception)]
            read = [pair for pair in zip(batch, looked, strict=True) if not isinstance(pair[1], Exception)]
            if read:
                yield [image for image, _ in read], [view for _, view in read]


def _looked_at(look: Callable[[Image.Image], Any], image: ImageInput, *, catch: bool) -> Any:
    try:
        return look(image.open())
    except (UserError, OSError) as error:
        if not catch:
            raise
        return error
