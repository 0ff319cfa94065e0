"""What may be shown: images of the named folders alone, in the size that a person needs, and no bombs."""

import io
import os
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image

from repmet.errors import UserError
from repmet.files import UnreadableImage
from repmet.page import gallery as module
from repmet.page.gallery import Gallery


def picture(path: Path, size=(40, 30), colour=(200, 0, 0), **more) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path, **more)
    return path


def test_images_below_a_folder_in_the_order_of_their_names(tmp_path):
    for name in ("b.png", "a.jpg", "sub/größe ねじ.png", ".hidden.png", "repmet-page/exports/x.png"):
        picture(tmp_path / name)
    (tmp_path / "note.txt").write_text("x")
    names = [p.path.relative_to(tmp_path).as_posix() for p in Gallery([tmp_path], tmp_path / "repmet-page").pictures]
    assert names == ["a.jpg", "b.png", "sub/größe ねじ.png"]


def test_a_place_that_comes_twice_is_shown_once(tmp_path):
    path = picture(tmp_path / "a.png")
    assert len(Gallery([tmp_path, path, path])) == 1


def test_links_that_lead_out_are_not_shown(tmp_path):
    secret = picture(tmp_path / "secret" / "s.png")
    inside = picture(tmp_path / "photos" / "a.png")
    (tmp_path / "photos" / "link.png").symlink_to(secret)
    (tmp_path / "photos" / "folder").symlink_to(secret.parent)
    (tmp_path / "photos" / "same.png").symlink_to(inside)
    gallery = Gallery([tmp_path / "photos"])
    assert [p.path.name for p in gallery.pictures] == ["a.png", "same.png"]
    assert sorted(path.name for path in gallery.left_out) == ["link.png", "s.png"]
    assert len(Gallery([tmp_path / "photos" / "link.png"])) == 1  # named itself


def test_a_link_that_is_laid_later_is_not_followed(tmp_path):
    secret = picture(tmp_path / "secret.png")
    shown = picture(tmp_path / "photos" / "a.png")
    gallery = Gallery([tmp_path / "photos"])
    shown.unlink()
    shown.symlink_to(secret)
    for read in (gallery.shown, gallery.thumbnail, gallery.size, gallery.open):
        with pytest.raises(UnreadableImage, match="leads out of"):
            read(0)
    shown.unlink()
    with pytest.raises(UnreadableImage, match="is gone"):
        gallery.shown(0)


def test_a_named_folder_may_be_a_link_itself(tmp_path):
    picture(tmp_path / "real" / "a.png")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert Gallery([tmp_path / "link"]).size(0) == (40, 30)


def test_large_images_come_small_and_turned_ones_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(tmp_path / "a.jpg", (3000, 1500), exif=exif)
    gallery = Gallery([tmp_path])
    assert gallery.size(0) == (1500, 3000)
    assert Image.open(io.BytesIO(gallery.shown(0))).size == (1280, 2560)
    assert Image.open(io.BytesIO(gallery.thumbnail(0))).size == (96, 192)
    assert gallery.thumbnail(0) == gallery.thumbnail(0)


def test_a_thumbnail_follows_its_file(tmp_path):
    path = picture(tmp_path / "a.png", colour=(255, 0, 0))
    gallery = Gallery([tmp_path])
    first = gallery.thumbnail(0)
    picture(path, colour=(0, 0, 255))
    os.utime(path, (1, 1))
    assert gallery.thumbnail(0) != first


def test_memory_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "KEPT", 2)
    for n in range(5):
        picture(tmp_path / f"{n}.png")
    gallery = Gallery([tmp_path])
    for n in range(5):
        gallery.shown(n)
    assert list(gallery._shown) == [3, 4]


def bomb(path: Path, width: int, height: int) -> None:
    """A PNG that says it is huge."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b""))


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("size", [(60000, 60000), (13000, 13000)])
def test_bombs_are_refused_before_they_are_opened(tmp_path, size):
    bomb(tmp_path / "a.png", *size)
    gallery = Gallery([tmp_path])
    for read in (gallery.size, gallery.shown, gallery.thumbnail, gallery.open):
        with pytest.raises(UnreadableImage, match=r"a\.png"):
            read(0)


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        Gallery([tmp_path / "nowhere"])
    with pytest.raises(UserError, match="no image to show"):
        Gallery([tmp_path])
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(UserError, match=r"a\.txt"):
        Gallery([tmp_path / "a.txt"])


def test_a_crop_has_a_margin_and_stays_inside(tmp_path):
    path = picture(tmp_path / "a.png", (100, 100), (0, 0, 0))
    shown = Image.open(path)
    shown.paste((255, 255, 255), (0, 0, 40, 40))
    shown.save(path)
    crop = Image.open(io.BytesIO(Gallery([tmp_path]).crop(0, (0, 0, 40, 40))))
    assert crop.size == (44, 44) and crop.getpixel((20, 20)) == (255, 255, 255)
