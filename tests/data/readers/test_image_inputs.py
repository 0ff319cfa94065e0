"""Whatever people hand over as images is read to the same pixels, in order, and late."""

import functools
import http.server
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from repmet.data.readers.image_inputs import image_inputs, is_one_image, video_frames

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    for name in ("b.png", "a.BMP", "more/c.tif"):
        Image.fromarray(PIXELS).save(folder / name)
    Image.fromarray(PIXELS).save(folder / "j.jfif", "png")
    (folder / "notes.txt").write_text("x")
    (folder / ".hidden.png").write_text("x")
    return folder


def pixels(images: object) -> list[np.ndarray]:
    return [np.asarray(image.open()) for image in image_inputs(images)]


@pytest.mark.parametrize(
    "image",
    [
        PIXELS,
        Image.fromarray(PIXELS),
        torch.from_numpy(PIXELS).permute(2, 0, 1),
        torch.from_numpy(PIXELS).permute(2, 0, 1) / 255,
        PIXELS / 255,
        PIXELS[None],
        [PIXELS],
        iter([PIXELS]),
        np.dstack([PIXELS, np.full((5, 7), 255, np.uint8)]),
    ],
    ids=["array", "pil", "tensor", "float tensor", "floats", "batch", "list", "iterator", "opaque rgba"],
)
def test_images_in_memory_keep_their_pixels(image) -> None:
    (decoded,) = pixels(image)
    np.testing.assert_array_equal(decoded, PIXELS)


def test_grey_arrays_become_rgb() -> None:
    for grey in (PIXELS[..., 0], PIXELS[..., :1], torch.from_numpy(PIXELS[..., 0])[None]):
        (decoded,) = pixels(grey)
        np.testing.assert_array_equal(decoded, PIXELS[..., :1].repeat(3, 2))


def test_paths_folders_globs_in_order(photos, tmp_path, caplog, monkeypatch) -> None:
    with caplog.at_level(logging.WARNING):
        images = image_inputs([photos / "b.png", str(photos), str(photos / "**" / "*.tif"), PIXELS])
    names = [image.name for image in images]
    in_folder = [str(photos / name) for name in ("a.BMP", "b.png", "j.jfif", "more/c.tif")]
    assert names == [str(photos / "b.png"), *in_folder, str(photos / "more" / "c.tif"), "image 7"]
    assert [image.stem for image in images[-2:]] == ["c", "image_7"]
    assert images[0].path == photos / "b.png" and images[-1].path is None
    assert caplog.messages == [f"{photos}: files that are no images are passed over: 1 .txt"]
    for image in images:
        np.testing.assert_array_equal(np.asarray(image.open()), PIXELS)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert len(image_inputs("~/photos")) == 4
    odd = photos / "[1].png"  # a name that looks like a pattern
    Image.fromarray(PIXELS).save(odd)
    assert [image.path for image in image_inputs(str(odd))] == [odd]


def test_one_image_or_several(photos) -> None:
    for image in (photos / "b.png", str(photos / "b.png"), "https://x.org/a.jpg", PIXELS, Image.fromarray(PIXELS)):
        assert is_one_image(image)
    for images in (photos, [PIXELS], PIXELS[None], str(photos / "*.png")):
        assert not is_one_image(images)


def test_an_iterator_is_asked_for_no_more_than_the_next() -> None:
    asked = []

    def stream():
        for k in range(3):
            asked.append(k)
            yield PIXELS

    images = image_inputs(stream())
    next(images)
    assert asked == [0]


def test_a_video_is_its_frames_and_an_address_one_of_them(photos, tmp_path) -> None:
    pytest.importorskip("av")
    from repmet.data.files.video import VideoWriter

    clip = tmp_path / "clip one.mp4"
    with VideoWriter(clip, 10) as writer:
        for number in range(4):
            writer.write(Image.new("RGB", (64, 48), (60 * number,) * 3), number / 10)
    images = image_inputs([photos / "b.png", str(clip), clip])
    assert isinstance(images, Iterator)
    images = list(images)
    assert [image.name for image in images[:3]] == [str(photos / "b.png"), f"{clip}@0.000s", f"{clip}@0.100s"]
    assert len(images) == 9 and images[2].path is None and images[2].frame.number == 1
    assert images[2].stem == "clip one_000000.100s"
    (image,) = image_inputs(f"{clip}@0.2s")  # the name that a frame has leads to it
    assert abs(np.asarray(image.open()).mean() - np.asarray(images[3].open()).mean()) < 1
    assert is_one_image(f"{clip}@0.2s") and not is_one_image(clip) and image.frame.seconds == 0.2
    assert len(list(video_frames(clip, every=3))) == 2
    with pytest.raises(FileNotFoundError, match=r"gone\.mp4: no such video"):
        image_inputs(f"{tmp_path}/gone.mp4@1s")
    with pytest.raises(FileNotFoundError, match=r"gone\.mp4: no such video"):
        video_frames(tmp_path / "gone.mp4")
    with pytest.raises(ValueError, match="n is at least 1, not 0"):
        video_frames(clip, every=0)


def test_an_address_is_fetched_when_it_is_opened(photos) -> None:
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=photos)
    handler.log_message = lambda *_: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/b.png?size=1"
        (image,) = image_inputs(address)
        assert (image.stem, image.path) == ("b", None)
        np.testing.assert_array_equal(np.asarray(image.open()), PIXELS)
        with pytest.raises(ConnectionError, match=r"nothing\.png\?size=1: the server answers 404"):
            image_inputs(address.replace("b.png", "nothing.png"))[0].open()
        with pytest.raises(ValueError, match=r"notes\.txt.*cannot be read as an image"):
            image_inputs(address.replace("b.png", "notes.txt"))[0].open()
        server.shutdown()


def test_what_is_no_image_is_refused_by_name(photos, tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="typo: no such image or folder"):
        image_inputs([PIXELS, "typo"])
    with pytest.raises(FileNotFoundError, match="the pattern holds no image"):
        image_inputs(str(photos / "*.gif"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="the folder holds no image"):
        image_inputs(tmp_path / "empty")
    with pytest.raises(ValueError, match="the list is empty"):
        image_inputs([])
    with pytest.raises(ValueError, match=r"\(H, W, 3\).*not \(2, 5, 7\)"):
        image_inputs(PIXELS.reshape(3, 5, 7)[:2])
    with pytest.raises(ValueError, match=r"\[0, 1\], these run from 0 to 255"):
        image_inputs(np.float32([[0, 255]]))
    with pytest.raises(ValueError, match="not int64"):
        image_inputs(PIXELS.astype(np.int64))
    with pytest.raises(TypeError, match="not int"):
        image_inputs([3])
    (photos / "damaged.png").write_bytes((photos / "b.png").read_bytes()[:60])
    with pytest.raises(ValueError, match=r"damaged\.png: cannot be read as an image"):
        image_inputs(photos / "damaged.png")[0].open()
