"""Frames of video files and cameras, one at a time, and the writer of videos. Files by PyAV, which knows each frame's own
time; cameras by OpenCV, which finds them on every system. Both are imported when the first video is opened.

A frame is as a player shows it: turned upright, in RGB, its time counted from the first one.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

from PIL import Image

from repmet.errors import MissingPackage, UserError

# By the names of files, in any case.
VIDEO_SUFFIXES = (
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv", ".flv", ".3gp", ".ogv",
)  # fmt: skip
CAMERA_RATE = 10.0  # frames a second that are expected of a camera with a detector behind it
CLOCK = 90_000  # ticks a second in the videos that are written, as MPEG has them
_AT = re.compile(r"(?P<path>.+)@(?P<seconds>\d+(\.\d+)?)s?")


class UnreadableVideo(UserError):
    """A video that cannot be read; the message names it."""


@dataclass(frozen=True)
class FrameTime:
    """Where a frame stands in its video.

    Attributes:
        number: among all frames, from 0; None where it is looked up by its time.
        seconds: since the first frame; of a camera, since it was opened.
        rate: frames a second, of those that are looked at; None of a single one.
    """

    number: int | None
    seconds: float
    rate: float | None


Frame = tuple[FrameTime, Image.Image]


def is_video_file(path: str | Path) -> bool:
    """Whether a name says so; hidden files are none."""
    path = Path(path)
    return path.suffix.lower() in VIDEO_SUFFIXES and not path.name.startswith(".")


def frame_address(text: str) -> tuple[Path, float] | None:
    """The video and the seconds of an address such as `clip.mp4@12.4s`; None where it is none, or a file of that name."""
    match = _AT.fullmatch(text)
    if match is None or not is_video_file(match["path"]) or Path(text).expanduser().is_file():
        return None
    return Path(match["path"]).expanduser(), float(match["seconds"])


def file_frames(path: Path, every: int = 1) -> Iterator[Frame]:
    """Every n-th frame of a video file, from the first, decoded as they are asked for.

    Raises:
        FileNotFoundError: no such file. UnreadableVideo: it is no video, or damaged from here on.
    """
    with _opened(path) as (container, stream):
        rate = float(stream.average_rate or stream.guessed_rate or 25)
        decoded = _decoded(path, container, stream)
        for number, (seconds, frame) in enumerate(decoded):
            if number % every == 0:
                yield FrameTime(number, number / rate if seconds is None else seconds, rate / every), _upright(frame)


def frame_at(path: Path, seconds: float) -> Image.Image:
    """The frame of a video that is nearest to a time; it is sought, not counted.

    Raises:
        FileNotFoundError, UnreadableVideo: as `file_frames`; UnreadableVideo: the video ends before.
    """
    with _opened(path) as (container, stream):
        with contextlib.suppress(OSError):  # a stream that cannot be sought in is read from its beginning
            start = stream.start_time or 0
            container.seek(start + int(seconds / stream.time_base), stream=stream, backward=True)
        rate = float(stream.average_rate or stream.guessed_rate or 25)
        best, last, distance = None, 0.0, float("inf")
        for number, (stamp, frame) in enumerate(_decoded(path, container, stream)):
            last = number / rate if stamp is None else stamp
            if abs(last - seconds) >= distance:
                break
            best, distance = frame, abs(last - seconds)
        if best is None or distance > 1 / rate + 0.5:
            raise UnreadableVideo(f"{path}: has no frame at {seconds:g} s; the last one is at {last:.2f} s")
        return _upright(best)


def camera_frames(number: int, every: int = 1) -> Iterator[Frame]:
    """Every n-th frame of a camera, until nobody asks for more; one is asked for when it is needed, and none are stored.

    Raises:
        UnreadableVideo: there is no such camera, or it gives no picture any more.
    """
    import cv2

    camera = cv2.VideoCapture(number)
    try:
        if not camera.isOpened():
            raise UnreadableVideo(f"camera {number} cannot be opened: is it there, and free?")
        camera.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        began, count = time.monotonic(), 0
        while True:
            there, pixels = camera.read()
            if not there:
                raise UnreadableVideo(f"camera {number} gives no picture any more, after {count} frames")
            if count % every == 0:
                picture = Image.fromarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))
                yield FrameTime(count, time.monotonic() - began, CAMERA_RATE), picture
            count += 1
    finally:
        camera.release()


class VideoWriter:
    """Writes pictures with their times as an MP4 that players and browsers show; H.264 where it is there, else MPEG-4.

    What a killed process has written can be played. All pictures have the first one's size; others are scaled to it.

    Args:
        path: of the file.
        rate: frames a second, about.

    Raises:
        OSError: no room, or the file cannot be written to; it names the file.
    """

    def __init__(self, path: Path, rate: float) -> None:
        av = _pyav()
        options = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "flush_packets": "1"}
        self.path, self._failed = path, False
        self._file = open(path, "wb")  # noqa: SIM115  (closed by `close`; a file of its own the library fills in silence)
        self._container = av.open(self._file, "w", format="mp4", options=options)
        codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
        quick = {"preset": "veryfast", "x264-params": "rc-lookahead=10"} if codec == "libx264" else {}
        about = Fraction(max(rate, 1.0)).limit_denominator(1000)
        self._stream = self._container.add_stream(codec, rate=about, options=quick)
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = Fraction(1, CLOCK)
        self._stream.codec_context.gop_size = 30  # a fragment ends with each
        self._size: tuple[int, int] | None = None
        self._last = -1

    def write(self, picture: Image.Image, seconds: float) -> None:
        """Adds a picture that is shown from `seconds` on."""
        if self._size is None:
            self._size = (max(2, picture.width // 2 * 2), max(2, picture.height // 2 * 2))  # as the codecs need it
            self._stream.width, self._stream.height = self._size
        if picture.size != self._size:
            close = abs(picture.width - self._size[0]) < 2 and abs(picture.height - self._size[1]) < 2
            picture = picture.crop((0, 0, *self._size)) if close else picture.resize(self._size)
        frame = _pyav().VideoFrame.from_image(picture)
        self._last = max(self._last + 1, round(seconds * CLOCK))
        frame.pts, frame.time_base = self._last, Fraction(1, CLOCK)
        with self._naming():
            self._container.mux(self._stream.encode(frame))
            self._file.flush()

    def close(self) -> None:
        """Ends the file; whoever made the writer has to."""
        if self._failed:  # what is there stays
            with contextlib.suppress(OSError):
                self._container.close()
            with contextlib.suppress(OSError):
                self._file.close()
            return
        with self._naming(), self._file:
            if self._size is not None:
                self._container.mux(self._stream.encode(None))
            self._container.close()

    @contextlib.contextmanager
    def _naming(self) -> Iterator[None]:
        """Around what writes: errors of the disk name the file."""
        try:
            yield
        except OSError as error:
            self._failed = True
            raise OSError(error.errno, error.strerror or str(error), str(self.path)) from None

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _pyav() -> Any:
    try:
        import av
    except ImportError:
        raise MissingPackage("videos need the extra `video`: pip install 'repmet[video]'") from None
    return av


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    av = _pyav()
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such video")
    try:
        container = av.open(str(path))
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise _unreadable(path, error) from None
    with container:
        if not container.streams.video:
            raise UnreadableVideo(f"{path}: holds no pictures, only sound or data")
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        yield container, stream


def _decoded(path: Path, container: Any, stream: Any) -> Iterator[tuple[float | None, Any]]:
    """Frames with their times since the first of the video."""
    av = _pyav()
    start = stream.start_time or 0
    try:
        for frame in container.decode(stream):
            yield None if frame.pts is None else float((frame.pts - start) * stream.time_base), frame
    except (av.error.FFmpegError, OSError) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> UnreadableVideo:
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return UnreadableVideo(f"{path}: cannot be read as a video ({reason}); convert it to MP4, or take it away")


def _upright(frame: Any) -> Image.Image:
    """As its camera was held: files of telephones say how to turn them."""
    picture: Image.Image = frame.to_image()
    turn = round(frame.rotation / 90) % 4 * 90  # degrees, counter-clockwise
    return picture.rotate(turn, expand=True) if turn else picture
