"""The image loader of mmdet's pipelines: ours by mmcv's name, the same pixels, and one line for what cannot be read."""

import copy
from pathlib import Path

import cv2
import mmcv.transforms
import numpy as np
import pytest
from mmdet.registry import TRANSFORMS
from mmengine.registry import DefaultScope
from PIL import Image

from repmet.data.files.pictures import read_rgb
from repmet.detection.modules import LoadImageFromFile
from repmet.detection.modules.load_image import bgr

from mmengine.dataset import Compose  # isort: skip


def load(path: Path, **arguments) -> dict:
    with DefaultScope.overwrite_default_scope("mmdet"):
        pipeline = Compose([{"type": "LoadImageFromFile", **arguments}])
    assert type(pipeline.transforms[0]) is LoadImageFromFile
    return pipeline({"img_path": str(path)})


def test_every_pipeline_of_mmdet_gets_it() -> None:
    assert TRANSFORMS.get("LoadImageFromFile") is LoadImageFromFile
    assert TRANSFORMS.get("mmdet.LoadImageFromFile") is LoadImageFromFile


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp"])
def test_plain_pictures_are_loaded_as_mmcv_loads_them(tmp_path: Path, suffix: str) -> None:
    pixels = cv2.resize(np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8), (90, 61))
    cv2.imwrite(str(tmp_path / f"a.{suffix}"), pixels)
    for arguments in ({}, {"to_float32": True}, {"backend_args": {"backend": "local"}}):
        ours = load(tmp_path / f"a.{suffix}", **arguments)
        mmcvs = mmcv.transforms.LoadImageFromFile(**copy.deepcopy(arguments))({"img_path": str(tmp_path / f"a.{suffix}")})
        assert ours.keys() == mmcvs.keys() and ours["ori_shape"] == mmcvs["ori_shape"] == ours["img_shape"] == (61, 90)
        assert ours["img"].dtype == mmcvs["img"].dtype and ours["img"].flags["C_CONTIGUOUS"]
        np.testing.assert_array_equal(ours["img"], mmcvs["img"])
    grey = load(tmp_path / f"a.{suffix}", color_type="grayscale")["img"]
    assert grey.ndim == 2, "what is not asked of ours is mmcv's"


def test_odd_pictures_are_loaded_as_a_viewer_shows_them(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    clear = np.zeros((5, 8, 4), np.uint8)
    clear[:, 4:] = (10, 60, 200, 255)
    Image.fromarray(clear).save(tmp_path / "a.webp", exif=exif, lossless=True, exact=True)
    loaded = load(tmp_path / "a.webp")
    assert loaded["img_shape"] == (8, 5)
    assert (loaded["img"][:4] == 255).all() and (loaded["img"][4:] == (200, 60, 10)).all()
    np.testing.assert_array_equal(loaded["img"], bgr(tmp_path / "a.webp"))
    np.testing.assert_array_equal(loaded["img"][..., ::-1], read_rgb(tmp_path / "a.webp"))


def test_what_cannot_be_read_is_named_or_left_out(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nand no more")
    with pytest.raises(ValueError, match=r"bad\.png: cannot be read as an image"):
        load(tmp_path / "bad.png")
    with pytest.raises(OSError, match=r"gone\.png"):
        load(tmp_path / "gone.png")
    assert load(tmp_path / "bad.png", ignore_empty=True) is None
