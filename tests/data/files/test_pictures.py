"""The reader of images: what a viewer shows, in every format and depth; plain pictures as OpenCV decodes them; refusals."""

import io
import pickle
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from repmet.data.files.pictures import UnreadableImage, contained, image_size, open_rgb, picture_problem, read_rgb

WIDTH, HEIGHT = 24, 16
# What a viewer does to the stored picture, by the tag of orientation (EXIF 2.3, table 6), on arrays.
TURNS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}
LOSSLESS = {"png": {}, "webp": {"lossless": True}, "tiff": {}, "tif": {"compression": "tiff_lzw"}}
LOSSY = {"jpg": {"quality": 100, "subsampling": 0}, "avif": {"quality": 100}}


def corners() -> np.ndarray:
    """(H, W, 3): four plain quarters, so that every turn of it differs and lossy formats keep its values nearly."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[:8, :8], image[:8, 8:], image[8:, :8], image[8:, 8:] = (250, 20, 20), (20, 250, 20), (20, 20, 250), (128, 128, 128)
    return image


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("suffix", [*LOSSLESS, *LOSSY])
def test_a_camera_held_on_its_side(tmp_path: Path, suffix: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(corners()).save(path, exif=exif, **(LOSSLESS | LOSSY)[suffix])
    expected = TURNS[orientation](corners())
    pixels = read_rgb(path)
    assert pixels.shape == expected.shape
    error = np.abs(pixels.astype(int) - expected)
    assert error.max() == 0 if suffix in LOSSLESS else error.mean() < 8
    assert image_size(path) == (expected.shape[1], expected.shape[0])
    assert picture_problem(path, (expected.shape[1], expected.shape[0])) is None
    if orientation >= 5:
        assert f"has {HEIGHT}x{WIDTH} pixels and its annotation says {WIDTH}x{HEIGHT}" in picture_problem(
            path, (WIDTH, HEIGHT)
        )


def test_orientation_behind_the_pixels_of_a_png_and_in_several_pictures_of_one_file(tmp_path: Path) -> None:
    buffer, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(corners()).save(buffer, "PNG")
    content = buffer.getvalue()
    chunk = b"eXIf" + exif.tobytes()[6:]
    late = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    end = content.index(b"IEND") - 4
    (tmp_path / "late.png").write_bytes(content[:end] + late + content[end:])
    images = [Image.fromarray(corners()), Image.new("RGB", (WIDTH, HEIGHT))]
    images[0].save(tmp_path / "two.mpo", save_all=True, append_images=images[1:], exif=exif, quality=100)
    for name in ("late.png", "two.mpo"):
        assert image_size(tmp_path / name) == (HEIGHT, WIDTH) == read_rgb(tmp_path / name).shape[1::-1]
        assert np.abs(read_rgb(tmp_path / name).astype(int) - TURNS[6](corners())).mean() < 8


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm", "jp2"])
def test_16_bits_are_scaled(tmp_path: Path, suffix: str) -> None:
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(grey.astype(np.uint16) * 257).save(path)
    np.testing.assert_array_equal(read_rgb(path), np.repeat(grey[..., None], 3, 2))
    assert picture_problem(path, (16, 16), decode=True) is None


def test_16_bits_in_the_other_byte_order_and_on_its_side(tmp_path: Path) -> None:
    grey = np.arange(64, dtype=np.uint8).reshape(4, 16)
    exif = Image.Exif()
    exif[0x0112] = 8
    image = Image.frombytes("I;16B", (16, 4), (grey.astype(np.uint16) * 257).astype(">u2").tobytes())
    image.save(tmp_path / "a.tif")
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.tif")[..., 0], grey)
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "b.png", exif=exif)
    np.testing.assert_array_equal(read_rgb(tmp_path / "b.png")[..., 1], np.rot90(grey))


def test_colour_of_16_bits(tmp_path: Path) -> None:
    colour = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), colour[..., ::-1].astype(np.uint16) * 257)
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.png"), colour)


def test_deeper_values_are_scaled_where_their_range_is_known_else_refused(tmp_path: Path) -> None:
    grey = np.linspace(0, 1, 50, dtype=np.float32).reshape(5, 10)
    Image.fromarray(grey).save(tmp_path / "unit.tif")
    np.testing.assert_array_equal(read_rgb(tmp_path / "unit.tif")[..., 2], np.round(grey * 255 + 1e-4).astype(np.uint8))
    Image.fromarray(grey * 300).save(tmp_path / "wide.tif")
    Image.fromarray((grey * 1e9).astype(np.int32)).save(tmp_path / "int.tif")
    for name, reason in {"wide.tif": "floating point from 0 to 300", "int.tif": "32-bit integers"}.items():
        with pytest.raises(UnreadableImage, match=rf"{name}: cannot be read as an image \({reason}.*in 8 or 16 bits"):
            read_rgb(tmp_path / name)
        assert reason in picture_problem(tmp_path / name), "found before anything is decoded"


@pytest.mark.parametrize(
    "kind", ["RGBA", "LA", "P", "P index", "RGB key", "L key", "1 key", "I;16 key", "gif", "webp", "tif"]
)
def test_transparent_is_white(tmp_path: Path, kind: str) -> None:
    """Left half black and transparent, right half grey of 80 and opaque."""
    grey = np.full((6, 8), 80, np.uint8)
    grey[:, :4] = 0
    alpha = np.where(np.arange(8) < 4, 0, 255).astype(np.uint8)[None].repeat(6, 0)
    rgba = Image.fromarray(np.dstack([grey, grey, grey, alpha]))
    path, more = tmp_path / ("a." + (kind if kind in ("gif", "webp", "tif") else "png")), {}
    if kind in ("RGBA", "webp", "tif"):
        image, more = rgba, {"lossless": True, "exact": True} if kind == "webp" else {}
    elif kind == "LA":
        image = Image.fromarray(np.dstack([grey, alpha]), "LA")
    elif kind in ("P", "P index", "gif"):
        image = Image.fromarray((grey > 0).astype(np.uint8))
        image.putpalette([0, 0, 0, 80, 80, 80])
        more = {"transparency": bytes([0, 255]) if kind == "P" else 0}
    elif kind == "I;16 key":
        image, more = Image.fromarray(grey.astype(np.uint16) * 257), {"transparency": 0}
    else:
        image = Image.fromarray(grey).convert(kind.split()[0], dither=Image.Dither.NONE) if kind != "1 key" else None
        more = {"transparency": (0, 0, 0) if kind == "RGB key" else 0}
        if image is None:
            image, grey = Image.fromarray(grey > 0), np.where(grey > 0, 255, 0)
    image.save(path, **more)
    pixels = read_rgb(path)
    assert (pixels[:, :4] == 255).all()
    np.testing.assert_array_equal(pixels[:, 4:], np.repeat(grey[:, 4:, None], 3, 2))


def test_half_transparent_is_half_white(tmp_path: Path) -> None:
    Image.fromarray(np.full((2, 2, 4), (200, 0, 100, 51), np.uint8)).save(tmp_path / "a.png")
    expected = np.array([200, 0, 100]) * 0.2 + 255 * 0.8
    np.testing.assert_allclose(read_rgb(tmp_path / "a.png")[0, 0], expected, atol=1)


def test_cmyk_and_other_colours(tmp_path: Path) -> None:
    plain = Image.fromarray(corners())
    plain.convert("CMYK").save(tmp_path / "a.jpg", quality=100, subsampling=0)
    plain.convert("CMYK").save(tmp_path / "a.tif")
    plain.convert("YCbCr").save(tmp_path / "b.tif")
    plain.convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "a.png")
    for name in ("a.jpg", "a.tif", "b.tif", "a.png"):
        assert np.abs(read_rgb(tmp_path / name).astype(int) - corners()).max() < 8, name


def plain_pictures(folder: Path) -> list[Path]:
    """JPEG and PNG of 8 bits in many ways: odd sizes, subsampling, quality, progressive, grey."""
    rng, paths = np.random.default_rng(0), []
    for k, (height, width) in enumerate([(1, 1), (3, 200), (97, 61), (64, 64), (150, 201)]):
        smooth = cv2.resize(rng.integers(0, 256, (5, 5, 3), np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)
        image = Image.fromarray(smooth)
        for quality, subsampling, progressive in ((30, 2, False), (75, 1, True), (95, 0, False), (100, 2, True)):
            paths.append(folder / f"{k}_{quality}.jpg")
            image.save(paths[-1], quality=quality, subsampling=subsampling, progressive=progressive)
        for name, kind in (("g.jpg", "L"), ("g.png", "L"), ("c.png", "RGB")):
            paths.append(folder / f"{k}_{name}")
            image.convert(kind).save(paths[-1])
    return paths


def test_plain_pictures_are_what_opencv_decodes(tmp_path: Path) -> None:
    """The published figures of detection were measured on OpenCV's decoding."""
    for path in plain_pictures(tmp_path):
        np.testing.assert_array_equal(read_rgb(path), cv2.imread(str(path), cv2.IMREAD_COLOR)[..., ::-1], err_msg=path.name)
        np.testing.assert_array_equal(read_rgb(path), read_rgb(path.read_bytes()))


def test_real_pictures_are_what_opencv_decodes(repmet_data: Path) -> None:
    for folder in ("VOCdevkit/VOC2007/JPEGImages", "FOD-A/JPEGImages"):
        paths = sorted((repmet_data / folder).iterdir())[::40]
        assert len(paths) > 10
        for path in paths:
            np.testing.assert_array_equal(read_rgb(path), cv2.imread(str(path))[..., ::-1], err_msg=path.name)


@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "bmp", "webp", "tif", "jp2", "avif", "ppm"])
def test_every_tenth_of_a_file_is_one_line_or_a_picture(tmp_path: Path, suffix: str) -> None:
    buffer = io.BytesIO()
    noise = np.random.default_rng(1).integers(0, 256, (40, 50, 3), np.uint8)
    Image.fromarray(noise).save(buffer, Image.registered_extensions()[f".{suffix}"])
    content, path = buffer.getvalue(), tmp_path / f"cut.{suffix}"
    for tenth in range(10):
        path.write_bytes(content[: len(content) * tenth // 10])
        try:
            assert read_rgb(path).shape == (40, 50, 3)
        except UnreadableImage as error:
            assert f"{path}: cannot be read as an image (" in str(error) and "\n" not in str(error)
            assert picture_problem(path, decode=True) is not None
        if suffix in ("jpg", "png"):
            assert f"{path}: " in picture_problem(path)


@pytest.mark.parametrize("content", [None, b"", b"<html>404</html>", b"\x89PNG\r\n\x1a\n" + bytes(30), b"II*\0" + bytes(40)])
def test_no_image_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "bad.png"
    if content is not None:
        path.write_bytes(content)
    for read in (open_rgb, image_size):
        with pytest.raises(UnreadableImage, match=r"bad\.png: cannot be read as an image \([^'\n]+\); fetch it again"):
            read(path)
    with pytest.raises(UnreadableImage, match=r"upload 3: cannot be read as an image"):
        open_rgb(content or b"", "upload 3")


def test_a_jpeg_may_have_bytes_behind_its_end(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(corners()).save(path)
    path.write_bytes(path.read_bytes() + bytes(100))
    assert picture_problem(path, (WIDTH, HEIGHT)) is None and read_rgb(path).shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize("size", [(1, 2000), (2000, 1), (1, 1), (640, 480), (10, 20)])
def test_a_thin_picture_keeps_a_pixel(size: tuple[int, int]) -> None:
    small = contained(Image.new("RGB", size), 96)
    assert max(small.size) == 96 and min(small.size) == max(1, round(96 * min(size) / max(size)))


def test_a_bomb_is_refused(tmp_path: Path) -> None:
    """A PNG of a few bytes that says it has 10^10 pixels."""
    head = b"IHDR" + struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    chunks = [head, b"IDAT" + zlib.compress(bytes(100))]
    (tmp_path / "bomb.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + b"".join(struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks)
    )
    with pytest.raises(UnreadableImage, match=r"bomb\.png: .*decompression bomb"):
        read_rgb(tmp_path / "bomb.png")
    assert "decompression bomb" in picture_problem(tmp_path / "bomb.png")


def test_an_error_passes_between_processes(tmp_path: Path) -> None:
    """Pickled, and as torch raises it anew from the process that loads data: by its type, with one text."""
    with pytest.raises(UnreadableImage) as caught:
        read_rgb(tmp_path / "gone.png")
    again = pickle.loads(pickle.dumps(caught.value))
    assert type(again) is UnreadableImage and str(again) == str(caught.value) and "gone.png" in str(again)
    assert str(UnreadableImage("Caught it in a worker")) == "Caught it in a worker"
