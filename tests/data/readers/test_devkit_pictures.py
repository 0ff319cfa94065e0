"""The pictures of a devkit: missing, cut off, on their side, and what their annotation says of their size."""

import pytest
from PIL import Image

from repmet.data.readers.devkit import read_image_set
from repmet.data.readers.voc_annotation import check_image


def test_missing_picture(devkit):
    (devkit / "JPEGImages/a.jpg").unlink()
    with pytest.raises(ValueError, match=r"a\.jpg: the image is missing; add it, or take a off the list train"):
        read_image_set(devkit, "train")


@pytest.mark.parametrize("kept", [0.0, 0.05, 0.5, 0.97])
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_truncated_picture_is_found_without_decoding(devkit, kept, suffix):
    source = devkit / "JPEGImages/a.jpg"
    path = source.with_suffix(f".{suffix}")
    with Image.open(source) as image:
        image.load()
    image.save(path)
    if suffix != "jpg":
        source.unlink()
    assert len(read_image_set(devkit, "train")) == 3
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(ValueError, match=rf"a\.{suffix}: (the file is truncated|cannot be read).*fetch it again"):
        read_image_set(devkit, "train")


def test_decoding_finds_damage_in_the_middle(devkit):
    path = devkit / "JPEGImages/a.png"
    with Image.open(devkit / "JPEGImages/a.jpg") as image:
        image.save(path)
    (devkit / "JPEGImages/a.jpg").unlink()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))
    assert len(read_image_set(devkit, "train")) == 3
    with pytest.raises(ValueError, match=r"a\.png: cannot be read"):
        read_image_set(devkit, "train", decode=True)


def test_a_picture_that_lies_on_its_side_counts_as_it_is_shown(devkit):
    path = devkit / "JPEGImages/a.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 60)).save(path, exif=exif)  # stored 40x60, shown 60x40
    assert check_image(read_image_set(devkit, "train")[1]) is None


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation(devkit, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    size = (40, 60) if orientation >= 5 else (60, 40)
    Image.new("RGB", size).save(devkit / "JPEGImages/a.jpg", exif=exif)
    assert len(read_image_set(devkit, "train")) == 3
    Image.new("RGB", size[::-1]).save(devkit / "JPEGImages/a.jpg", exif=exif)
    with pytest.raises(ValueError, match="40x60 pixels and its annotation says 60x40"):
        read_image_set(devkit, "train")


def test_a_jpeg_with_bytes_behind_its_end_is_whole(devkit):
    path = devkit / "JPEGImages/a.jpg"
    path.write_bytes(path.read_bytes() + b"\0" * 100)
    assert len(read_image_set(devkit, "train", decode=True)) == 3


def test_an_oversized_picture_is_one_line(devkit, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ValueError, match=r"a\.jpg: cannot be read as an image \(.*decompression bomb"):
        read_image_set(devkit, "train")
