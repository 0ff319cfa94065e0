"""Image files to tensors: shapes, crops and orientation against Pillow and torchvision; unreadable files."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as tv

from repmet.data.files.decoding import check_all, decode, decode_all, decode_batch, resize


def gradient(width: int, height: int) -> Image.Image:
    """Red grows to the right, green downwards."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([x, y, np.full_like(x, 128)], axis=-1).astype(np.uint8))


@pytest.mark.parametrize(("width", "height"), [(60, 40), (40, 60), (33, 33), (300, 200)])
@pytest.mark.parametrize("size", [(20, 20), (24, 16), (50, 50)])
def test_the_image_covers_the_size_and_is_cropped_at_the_centre(tmp_path, width, height, size):
    gradient(width, height).save(tmp_path / "a.png")
    image = decode(tmp_path / "a.png", size)
    assert image.shape == (3, *size) and image.dtype == torch.uint8
    factor = max(size[0] / height, size[1] / width)
    # A pixel's centre, traced back to the source: what the gradient is there.
    for channel, (cut, full) in enumerate(((size[1], width), (size[0], height))):
        place = ((np.arange(cut) + 0.5 - cut / 2) / factor + full / 2 - 0.5) * 255 / (full - 1)
        line = image[channel].float().mean(dim=channel).numpy()
        inner = slice(1, -1)  # at the border the filter reflects nothing
        assert np.abs(line - place)[inner].max() < 3


def test_a_large_photograph_is_close_to_torchvision(tmp_path):
    gradient(640, 480).save(tmp_path / "a.jpg", quality=95)
    plain = tv.pil_to_tensor(Image.open(tmp_path / "a.jpg"))
    expected = tv.center_crop(tv.resize(plain, [64], antialias=True), [64, 64])
    decoded = decode(tmp_path / "a.jpg", (64, 64))
    assert (decoded.int() - expected.int()).abs().max() <= 4  # decoded at a fraction, and another order of crop and scale


def test_orientation_and_modes(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # held on its side: the viewer turns it clockwise
    gradient(40, 40).save(tmp_path / "turned.png", exif=exif)
    upright = decode(tmp_path / "turned.png", (40, 40)).float()
    assert upright[1, :, 0].mean() > 100 and upright[1, 20, 0] > upright[1, 20, -1]  # green now falls to the right
    assert upright[0, -1].mean() > upright[0, 0].mean()  # and red grows downwards
    for mode in ("L", "1", "P", "RGBA", "CMYK"):
        path = tmp_path / f"{mode}.{'jpg' if mode == 'CMYK' else 'png'}"
        gradient(30, 30).convert(mode).save(path)
        assert decode(path, (10, 10)).shape == (3, 10, 10)


def test_all_files_in_order(tmp_path):
    for i in range(7):
        Image.new("RGB", (9, 9), (30 * i, 0, 0)).save(tmp_path / f"{i}.png")
    paths = [tmp_path / f"{i}.png" for i in (3, 0, 6, 1)]
    images = decode_all(paths, (5, 4))
    assert images.shape == (4, 3, 5, 4) and images[:, 0, 0, 0].tolist() == [90, 0, 180, 30]
    assert torch.equal(decode_batch(paths, (5, 4)), images)


def broken(path, kind: str):
    buffer = io.BytesIO()
    gradient(80, 80).save(buffer, "JPEG")
    path.write_bytes({"empty": b"", "text": b"<html>404</html>", "cut": buffer.getvalue()[:700]}[kind])
    return path


@pytest.mark.parametrize("kind", ["empty", "text", "cut"])
@pytest.mark.parametrize("decoder", [decode_batch, decode_all, lambda paths, size: check_all(paths)])
def test_an_unreadable_image_is_named(tmp_path, kind, decoder):
    gradient(9, 9).save(tmp_path / "good.png")
    with pytest.raises(ValueError, match=r"bad\.jpg: cannot be read as an image"):
        decoder([tmp_path / "good.png", broken(tmp_path / "bad.jpg", kind)], (5, 5))
    with pytest.raises(ValueError, match=r"gone\.jpg: cannot be read as an image"):
        decoder([tmp_path / "gone.jpg"], (5, 5))


@pytest.mark.parametrize("size", [(14, 14), (14, 28), (40, 20), (28, 28)])
def test_tensors_are_scaled_the_same_way(size):
    images = torch.stack([tv.pil_to_tensor(gradient(28, 28)), tv.pil_to_tensor(gradient(28, 28)).flip(-1)])
    resized = resize(images, size)
    assert resized.shape == (2, 3, *size) and resized.dtype == torch.uint8
    side = max(size)
    expected = tv.center_crop(tv.resize(images, [side, side], antialias=True), list(size))
    assert torch.equal(resized, expected)
