"""The table that mmcv looks its kernels up in: who fills it, when, and what it says of others."""

import importlib.util
import subprocess
import sys

import pytest
import torch

pytest.importorskip("mmcv")
pytest.importorskip("repmet.detection")  # its table comes before mmcv asks for one

from mmcv import ops

from repmet.detection.mmcv_ops.table import NAME, owner
from tests.detection.mmcv_ops.stock_models import BOXES, ours


@ours
def test_other_operators_name_themselves() -> None:
    with pytest.raises(NotImplementedError, match=r"'softnms'.*onedl-mmcv"):
        ops.soft_nms(BOXES[:, 1:], torch.ones(3))
    with pytest.raises(NotImplementedError, match="pool_mode='max'"):
        ops.RoIAlign(3, pool_mode="max")(torch.randn(2, 3, 8, 8), BOXES)


@ours
def test_the_module_can_be_found() -> None:
    assert owner() == "csrc"
    spec = importlib.util.find_spec(NAME)
    assert spec is sys.modules[NAME].__spec__
    assert not hasattr(sys.modules[NAME], "__path__")
    assert "RoI layers by" in ops.get_compiler_version()


def test_a_complete_mmcv_keeps_its_table(tmp_path) -> None:
    """An mmcv with a compiled module of its own, here a stand-in package, is left alone; without mmcv there is a message."""
    package = tmp_path / "mmcv"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "_ext.py").write_text("mine = True\n")
    program = (
        "from repmet.detection.mmcv_ops.table import owner; assert owner() == 'mmcv'; import mmcv._ext as e; assert e.mine"
    )
    search = "import sys; sys.path.insert(0, sys.argv[1]); "
    subprocess.run([sys.executable, "-c", search + program, str(tmp_path)], check=True)
    hidden = "sys.modules['mmcv'] = None; from repmet.detection.mmcv_ops.table import owner; owner()"
    result = subprocess.run([sys.executable, "-c", search + hidden, str(tmp_path)], capture_output=True, text=True)
    assert "detection needs mmcv" in result.stderr


def test_whatever_is_imported_first_finds_the_table_filled() -> None:
    program = "import detection.embedding.embedder; import mmdet.models; from mmcv.ops import DeformConv2dPack, RoIAlign"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "Fail to import" not in result.stderr  # mmcv's word where it gave up on its operators
