"""Frames of videos at their own times, upright, one at a time; videos that can be played whatever ended the writing."""

import errno
import io
import sys
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from repmet.data.files import video
from repmet.data.files.video import (
    FrameTime,
    UnreadableVideo,
    VideoWriter,
    camera_frames,
    file_frames,
    frame_address,
    frame_at,
)
from repmet.errors import MissingPackage

av = pytest.importorskip("av")


def grey(number: int, size=(64, 48)) -> Image.Image:
    return Image.new("RGB", size, (8 * number + 20,) * 3)


def number_of(picture: Image.Image) -> int:
    """The number of a frame by its grey, which encoding changes a little."""
    return round((np.asarray(picture).mean() - 20) / 8)


def clip(path: Path, times) -> Path:
    with VideoWriter(path, 10) as writer:
        for number, seconds in enumerate(times):
            writer.write(grey(number), seconds)
    return path


@pytest.fixture
def tenths(tmp_path) -> Path:
    """Twenty frames, ten a second."""
    return clip(tmp_path / "größe ねじ.mp4", [k / 10 for k in range(20)])


def test_every_frame_comes_with_its_number_and_time(tenths):
    frames = list(file_frames(tenths))
    assert [when.number for when, _ in frames] == list(range(20))
    assert [number_of(picture) for _, picture in frames] == list(range(20))
    assert [when.seconds for when, _ in frames] == pytest.approx([k / 10 for k in range(20)], abs=1e-3)
    assert frames[0][1].mode == "RGB" and frames[0][1].size == (64, 48)


def test_every_third_frame(tenths):
    frames = list(file_frames(tenths, 3))
    assert [(when.number, number_of(picture)) for when, picture in frames] == [(k, k) for k in range(0, 20, 3)]
    assert frames[0][0].rate == pytest.approx(10 / 3, rel=0.05)


def test_times_that_are_not_even_are_kept(tmp_path):
    times = [0, 0.5, 0.55, 2, 7.25]
    frames = list(file_frames(clip(tmp_path / "a.mp4", times)))
    assert [when.seconds for when, _ in frames] == pytest.approx(times, abs=1e-3)


@pytest.mark.parametrize(("seconds", "number"), [(0, 0), (0.4, 4), (0.44, 4), (0.46, 5), (1.9, 19), (2.1, 19)])
def test_a_frame_by_its_time_is_the_nearest(tenths, seconds, number):
    assert number_of(frame_at(tenths, seconds)) == number


def test_a_frame_is_sought_far_into_a_long_video(tmp_path):
    long = clip(tmp_path / "long.mp4", [k / 10 for k in range(25)] + [60 + k / 10 for k in range(5)])
    assert number_of(frame_at(long, 60.3)) == 28


def test_after_the_end_there_is_no_frame(tenths):
    with pytest.raises(UnreadableVideo, match=r"ねじ\.mp4: has no frame at 9 s; the last one is at 1\.90 s"):
        frame_at(tenths, 9)


def test_a_video_held_on_its_side_is_upright(tmp_path):
    """As telephones write it: pixels as they lay in the sensor, and how to turn them."""
    with av.open(str(tmp_path / "turned.mov"), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.set_display_rotation(90)
        picture = Image.new("RGB", (64, 48), "black")
        picture.paste((255, 255, 255), (0, 0, 32, 48))  # the left half is white
        container.mux(stream.encode(av.VideoFrame.from_image(picture)))
        container.mux(stream.encode(None))
    ((_, shown),) = file_frames(tmp_path / "turned.mov")
    assert shown.size == (48, 64)
    with av.open(str(tmp_path / "turned.mov")) as container:
        turn = next(container.decode(video=0)).rotation  # degrees, counter-clockwise
    pixels = np.asarray(shown.convert("L"), float)
    top, bottom = pixels[:28].mean(), pixels[36:].mean()
    assert (bottom > 200 > 60 > top) if turn == 90 else (top > 200 > 60 > bottom)


def test_frames_are_decoded_as_they_are_asked_for(tenths, monkeypatch):
    turned = []
    monkeypatch.setattr(video, "_upright", lambda frame: turned.append(frame) or frame.to_image())
    frames = file_frames(tenths)
    assert not turned
    assert len(list(islice(frames, 3))) == len(turned) == 3


def test_what_is_no_video_is_named(tmp_path, tenths):
    with pytest.raises(FileNotFoundError, match=r"none\.mp4: no such video"):
        next(file_frames(tmp_path / "none.mp4"))
    (tmp_path / "text.mp4").write_text("no video " * 100)
    with pytest.raises(UnreadableVideo, match=r"text\.mp4: cannot be read as a video"):
        next(file_frames(tmp_path / "text.mp4"))
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(UnreadableVideo, match=r"sound\.mp4: holds no pictures"):
        next(file_frames(tmp_path / "sound.mp4"))


def test_a_video_that_breaks_off_gives_what_it_has(tmp_path):
    path = clip(tmp_path / "a.mp4", [k / 10 for k in range(30)] + [3 + k / 10 for k in range(60)])
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 3 // 4])
    got = []
    try:
        for _, picture in file_frames(path):
            got.append(number_of(picture))
    except UnreadableVideo as error:
        assert "a.mp4" in str(error)
    assert 10 <= len(got) < 90 and got[:5] == [0, 1, 2, 3, 4]


def test_what_a_killed_process_wrote_can_be_played(tmp_path):
    writer = VideoWriter(tmp_path / "a.mp4", 10)
    for number in range(100):
        writer.write(grey(number % 25), number / 10)
    copy = tmp_path / "copy.mp4"
    copy.write_bytes((tmp_path / "a.mp4").read_bytes())  # as it lies on the disk at that moment
    writer.close()
    assert 25 <= sum(1 for _ in file_frames(copy)) <= 100 == sum(1 for _ in file_frames(tmp_path / "a.mp4"))


def test_pictures_of_odd_and_of_other_sizes_are_written(tmp_path):
    with VideoWriter(tmp_path / "a.mp4", 10) as writer:
        for number, size in enumerate([(65, 49), (65, 49), (128, 96)]):
            writer.write(grey(number, size), number / 10)
        writer.write(grey(3, (65, 49)), 0.2)  # a time that was had
    frames = list(file_frames(tmp_path / "a.mp4"))
    assert [picture.size for _, picture in frames] == [(64, 48)] * 4 and [number_of(p) for _, p in frames] == [0, 1, 2, 3]


def test_times_on_a_coarse_clock(tmp_path):
    """AVI has no times: frames are counted."""
    with av.open(str(tmp_path / "a.avi"), "w") as container:
        stream = container.add_stream("mpeg4", rate=Fraction(5))
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(6):
            container.mux(stream.encode(av.VideoFrame.from_image(grey(number))))
        container.mux(stream.encode(None))
    frames = list(file_frames(tmp_path / "a.avi"))
    assert [when.seconds for when, _ in frames] == pytest.approx([k / 5 for k in range(6)])
    assert number_of(frame_at(tmp_path / "a.avi", 0.8)) == 4


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("clip.mp4@12.4s", (Path("clip.mp4"), 12.4)),
        ("a b/c@d.MOV@3", (Path("a b/c@d.MOV"), 3.0)),
        ("clip.mp4", None),
        ("me@home.jpg", None),
        ("clip.mp4@", None),
        ("clip.mp4@-1s", None),
        ("photo.jpg@2s", None),
    ],
)
def test_addresses_of_frames(text, address):
    assert frame_address(text) == address


class Camera:
    """Three pictures, blue where OpenCV says blue, then none."""

    opened = 0

    def __init__(self, number: int) -> None:
        self.number, self.left = number, 3
        Camera.opened += 1

    def isOpened(self) -> bool:
        return self.number == 0

    def set(self, *_: object) -> None:
        pass

    def read(self):
        self.left -= 1
        return self.left >= 0, np.full((48, 64, 3), (200, 0, 0), np.uint8)

    def release(self) -> None:
        Camera.opened -= 1


def test_a_camera(monkeypatch):
    import cv2

    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    frames = camera_frames(0, 2)
    when, picture = next(frames)
    assert isinstance(when, FrameTime) and when.number == 0 and picture.getpixel((0, 0)) == (0, 0, 200)
    assert next(frames)[0].number == 2
    with pytest.raises(UnreadableVideo, match="camera 0 gives no picture any more, after 3 frames"):
        next(frames)
    with pytest.raises(UnreadableVideo, match="camera 7 cannot be opened"):
        next(camera_frames(7))
    frames = camera_frames(0)
    next(frames)
    frames.close()
    assert Camera.opened == 0  # nobody else can have it before


def test_without_pyav_the_extra_is_named(tenths, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingPackage, match=r"pip install 'repmet\[video\]'"):
        next(file_frames(tenths))


def test_a_full_disk_is_an_error_that_names_the_file(tmp_path, monkeypatch) -> None:
    """What the library writes by itself to a full disk it loses in silence."""

    class Full(io.FileIO):
        def write(self, data) -> int:
            if self.tell() > 4000:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(data)

    monkeypatch.setattr(video, "open", lambda path, mode: Full(path, mode), raising=False)
    noise = np.random.default_rng(0)
    with pytest.raises(OSError, match="No space left") as raised, VideoWriter(tmp_path / "a.mp4", 5) as writer:
        for number in range(60):
            writer.write(Image.fromarray(noise.integers(0, 255, (64, 64, 3), np.uint8)), number / 5)
    assert raised.value.filename == str(tmp_path / "a.mp4")
