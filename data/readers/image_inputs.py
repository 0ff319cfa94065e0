"""What counts as an image where somebody hands one over: paths, folders, globs, addresses, videos, PIL images, arrays,
tensors.

Both trees' commands and the public classes take their images through `image_inputs`. Nothing is decoded or fetched before
`ImageInput.open`, so a long list costs no memory; of a video one frame is decoded at a time.
"""

import glob
import io
import sys
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
from PIL import Image

from repmet.data.files.pictures import IMAGE_SUFFIXES, as_rgb, is_image_file, open_rgb
from repmet.data.files.video import Frame, FrameTime, camera_frames, file_frames, frame_address, frame_at, is_video_file
from repmet.data.files.walk import files_below, tell_passed_over
from repmet.errors import UserError

TIMEOUT = 30  # seconds without an answer
LARGEST = 200 << 20  # bytes of an image at an address
_SCHEMES = ("http://", "https://")


@dataclass(frozen=True, eq=False)
class ImageInput:
    """One image, not decoded yet.

    Attributes:
        name: the path or the address, as it was given, with bytes that are no text escaped; of an image in memory
            `image 3`, counted from 1.
        source: a `Path`, an address, a PIL image, or an array (H, W), (H, W, 3) or (H, W, 4) of uint8.
        frame: of a frame of a video, where it stands there.
    """

    name: str
    source: Path | str | Image.Image | np.ndarray
    frame: FrameTime | None = None

    @property
    def path(self) -> Path | None:
        """The file, where it is one."""
        return self.source if isinstance(self.source, Path) else None

    @property
    def stem(self) -> str:
        """A name for files that are made of it: no folder, no suffix."""
        if self.frame is not None:
            return f"{Path(self.name.rpartition('@')[0]).stem}_{self.frame.seconds:010.3f}s"
        if isinstance(self.source, str):
            return PurePosixPath(unquote(urlsplit(self.source).path)).stem or "image"
        return self.source.stem if isinstance(self.source, Path) else self.name.replace(" ", "_")

    def open(self, *, least: tuple[int, int] | None = None) -> Image.Image:
        """The picture in RGB, upright, read or fetched now.

        Args:
            least: as of `data.files.pictures.open_rgb`.

        Raises:
            ValueError: it is missing, damaged or no image; the message names it.
            ConnectionError: its address does not answer.
        """
        if isinstance(self.source, Path):
            return open_rgb(self.source, least=least)
        if isinstance(self.source, str):
            if address := frame_address(self.source):
                return frame_at(*address)
            return open_rgb(io.BytesIO(_fetched(self.source)), self.source, least=least)
        return as_rgb(self.source if isinstance(self.source, Image.Image) else Image.fromarray(self.source))


def is_one_image(images: Any) -> bool:
    """Whether this is one image, which has one result: a file, address, frame, PIL image, array or tensor of one."""
    if isinstance(images, str | Path):
        if _is_address(images) or frame_address(str(images)):
            return True
        return not is_video_file(images) and Path(images).expanduser().is_file()
    shape = getattr(images, "shape", None)
    return isinstance(images, Image.Image | ImageInput) or (shape is not None and len(shape) in (2, 3))


def image_inputs(images: Any) -> list[ImageInput] | Iterator[ImageInput]:
    """The images that somebody hands over, one after the other, in order.

    Args:
        images: a file, a folder (all images below it), a glob (`photos/**/*.jpg`), an http(s) address, a PIL image, an array
            (H, W, 3) in RGB or (H, W) in grey, a tensor (3, H, W) or (1, H, W), a batch of either with n in front; or any
            number of these. Integers are uint8; floats are in [0, 1]. A video file stands for all its frames,
            `clip.mp4@12.4s` for one of them; `video_frames` chooses.

    Returns:
        A list; of an iterator, and where a video is among the images, an iterator that asks for no more than the next image.

    Raises:
        FileNotFoundError: a path or glob that leads to no image.
        ValueError: no image at all; an array of another shape, type or range.
        TypeError: something that is no image.
    """
    if isinstance(images, Iterator):
        return _numbered(images)
    if isinstance(images, str | Path | Image.Image | ImageInput) or hasattr(images, "shape"):
        images = [images]
    if not isinstance(images, Iterable):
        raise TypeError(f"images are paths, addresses, PIL images, arrays or tensors, not {type(images).__name__}")
    images = list(images)
    if any(isinstance(item, str | Path) and _is_video(item) for item in images):
        return _numbered(images)
    inputs = list(_numbered(images))
    if not inputs:
        raise UserError("no image to look at: the list is empty")
    return inputs


def video_frames(source: str | Path | int, *, every: int = 1) -> Iterator[ImageInput]:
    """Frames of a video, for `detect`: one after the other, decoded when they are asked for.

    Args:
        source: a video file, or the number of a camera, from 0.
        every: every n-th frame, from the first.

    Raises:
        FileNotFoundError: no such file. ValueError: no video; `every` below 1; when its turn comes, a damaged frame.
    """
    if every < 1:
        raise UserError(f"every n-th frame: n is at least 1, not {every}")
    if isinstance(source, int):
        return _named(f"camera_{source}", camera_frames(source, every))
    path = Path(source).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such video")
    return _named(_printable(source), file_frames(path, every))


def _named(name: str, frames: Iterator[Frame]) -> Iterator[ImageInput]:
    for when, picture in frames:
        yield ImageInput(f"{name}@{when.seconds:.3f}s", picture, when)


def _numbered(images: Iterable[Any]) -> Iterator[ImageInput]:
    count = 0
    for item in images:
        if isinstance(item, str) and not item:
            raise UserError("the path of an image is empty")
        if isinstance(item, ImageInput):
            count += 1
            yield item
            continue
        if isinstance(item, str | Path) and _is_video(item):
            yield from video_frames(item)
            continue
        for source in _sources(item):
            count += 1
            named = isinstance(source, str | Path)
            address = frame_address(source) if isinstance(source, str) else None
            frame = address and FrameTime(None, address[1], None)
            yield ImageInput(_printable(source) if named else f"image {count}", source, frame)


def _sources(item: Any) -> Iterable[Path | str | Image.Image | np.ndarray]:
    if isinstance(item, str | Path):
        if address := frame_address(str(item)):
            if not address[0].is_file():
                raise FileNotFoundError(f"{address[0]}: no such video")
            return [str(item)]
        return [item] if _is_address(item) else _paths(str(item))
    if isinstance(item, Image.Image):
        return [item]
    torch = sys.modules.get("torch")  # who hands over a tensor has imported it
    if torch is not None and isinstance(item, torch.Tensor):
        return _from_tensor(item.detach().cpu().numpy())
    if isinstance(item, np.ndarray):
        return _from_array(item)
    raise TypeError(f"an image is a path, an address, a PIL image, an array or a tensor, not {type(item).__name__}")


def _printable(name: str | Path) -> str:
    """A path as text that can be printed and written: bytes in it that are no UTF-8 as they are escaped in Python, \\xe4."""
    return str(name).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _is_video(item: str | Path) -> bool:
    return is_video_file(item) and Path(item).expanduser().is_file()


def _is_address(item: str | Path) -> bool:
    return isinstance(item, str) and item.lower().startswith(_SCHEMES)


def _paths(text: str) -> list[Path]:
    path = Path(text).expanduser()
    if path.is_file():
        return [path]
    if path.is_dir():
        candidates, kind = list(files_below(path)), "the folder"
    elif glob.has_magic(text):
        candidates = [p for p in map(Path, sorted(glob.glob(str(path), recursive=True))) if p.is_file()]
        kind = "the pattern"
    else:
        raise FileNotFoundError(f"{text}: no such image or folder")
    files = [p for p in candidates if is_image_file(p)]
    if not files:
        raise FileNotFoundError(f"{text}: {kind} holds no image ({', '.join(IMAGE_SUFFIXES)})")
    tell_passed_over(text, (p for p in candidates if not is_image_file(p)))
    return files


def _from_tensor(values: np.ndarray) -> list[np.ndarray]:
    """Of (C, H, W) or (n, C, H, W)."""
    if values.ndim not in (3, 4) or values.shape[-3] not in (1, 3):
        raise UserError(f"a tensor of images is (3, H, W), (1, H, W) or (n, 3, H, W), not {values.shape}")
    return _from_array(np.moveaxis(values, -3, -1))


def _from_array(values: np.ndarray) -> list[np.ndarray]:
    """Of (H, W), (H, W, C) or (n, H, W, C)."""
    if values.ndim not in (2, 3, 4) or (values.ndim > 2 and values.shape[-1] not in (1, 3, 4)) or 0 in values.shape:
        raise UserError(f"an array of an image is (H, W, 3) in RGB or (H, W) in grey, not {values.shape}")
    if np.issubdtype(values.dtype, np.floating):
        low, high = float(values.min()), float(values.max())
        if not 0 <= low <= high <= 1:  # false for NaN too
            raise UserError(f"an image of floats has values in [0, 1], these run from {low:g} to {high:g}")
        values = (values * 255).round().astype(np.uint8)
    if values.dtype != np.uint8:
        raise UserError(f"an image is uint8 in 0..255, or floats in [0, 1], not {values.dtype}")
    if values.ndim > 2 and values.shape[-1] == 1:
        values = values[..., 0]
        return list(values) if values.ndim == 3 else [values]
    return list(values) if values.ndim == 4 else [values]


def _fetched(address: str) -> bytes:
    request = urllib.request.Request(address, headers={"User-Agent": "repmet"})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            content = response.read(LARGEST + 1)
    except urllib.error.HTTPError as error:
        raise ConnectionError(f"{address}: the server answers {error.code} {error.reason}") from None
    except (OSError, ValueError) as error:
        raise ConnectionError(f"{address}: cannot be fetched ({getattr(error, 'reason', error)})") from None
    if len(content) > LARGEST:
        raise UserError(f"{address}: more than {LARGEST >> 20} MiB, too large for an image")
    return content
