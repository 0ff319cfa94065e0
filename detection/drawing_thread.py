"""The pictures of what was found, drawn and written by a thread while the detector looks at the next images."""

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

from repmet.data.files.saved_pictures import save_picture
from repmet.detection.results import Detections

WAITING = 3  # pictures at most that are not written yet
COMPRESSION = 3  # of PNG: a third of the time of the usual 6, files that are 3 to 5 % larger


class Drawing:
    """Writes pictures beside what else is done; leaving the `with` block waits for them.

    Raises:
        ValueError, OSError: a picture that could not be drawn or written, when a later one is added or the block is left.
    """

    def __init__(self) -> None:
        self._pool, self._waiting = ThreadPoolExecutor(1, "drawing"), deque[Future[None]]()

    def add(self, detections: Detections, file: Path) -> None:
        """Draws what was found in an image into a file; its folder is made."""
        while len(self._waiting) >= WAITING:
            self._waiting.popleft().result()
        self._waiting.append(self._pool.submit(_draw, detections, file))

    def __enter__(self) -> "Drawing":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._pool.shutdown(cancel_futures=kind is not None)
        while self._waiting and kind is None:
            self._waiting.popleft().result()


def _draw(detections: Detections, file: Path) -> None:
    save_picture(detections.plot(), file, compress_level=COMPRESSION)
