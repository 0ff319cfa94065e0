"""Whatever shows the classes, a folder, a file or marks from Python, as images with their boxes."""

import tempfile
from pathlib import Path

from repmet.data.readers.voc_annotation import ImageRecord
from repmet.detection.episodes.marked_images import Marks, read_marks
from repmet.detection.episodes.open_image import OpenImage
from repmet.detection.episodes.support_set import read_support


def marked_records(support: str | Path | Marks) -> list[ImageRecord]:
    """The images that show the classes, with their boxes.

    Args:
        support: annotated images or crops on disk, see `support_set.read_support`; or {class: [(image, box), ...]}, see
            `marked_images.read_marks`.

    Raises:
        FileNotFoundError, ValueError, TypeError: there is no such set, or what is wrong with it.
    """
    if not isinstance(support, str | Path):
        return list(read_marks(support))
    with tempfile.TemporaryDirectory() as scratch:
        records = read_support(support, scratch)
        # the canvases of crops go with the folder
        return [OpenImage.read(r) if Path(scratch) in r.path.parents else r for r in records]
