"""torchvision's data sets as a source: it downloads and verifies them; its failures become one message."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torchvision.datasets import VisionDataset


def downloaded(dataset: Callable[..., VisionDataset], root: str | Path, **arguments: Any) -> VisionDataset:
    """The data set under `root`, fetched by torchvision where it is not there.

    Raises:
        ConnectionError: it could not be fetched, or not unpacked, or its files are damaged; says from where to go on.
    """
    try:
        return dataset(root=root, download=True, **arguments)
    except Exception as error:  # URLError, RuntimeError, tarfile and gzip errors, assertions of the reader...
        name = getattr(dataset, "__name__", str(dataset))
        raise ConnectionError(
            f"{name} could not be laid out under {root}: {type(error).__name__}: {' '.join(str(error).split())}; "
            "delete what has come there and try again, or put the files there by hand"
        ) from error
