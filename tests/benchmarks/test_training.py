"""The training benchmark trains one model both ways, on equal losses, and writes images a second."""

import json

import pytest
import torch

pytest.importorskip("mmdet")

from benchmarks import training
from model_definitions import roi_layers

pytestmark = pytest.mark.skipif(roi_layers.backend() != "csrc", reason="csrc is not compiled")


def test_a_small_detector_both_ways(monkeypatch, tmp_path, capsys) -> None:
    step = training.Step("small", "demo.yaml", 5, 2, (64, 96))
    monkeypatch.setattr(training, "STEPS", (step,))
    out = tmp_path / "training.json"
    (result,) = training.main(["--seconds", "0.05", "--out", str(out)])
    (row,) = json.loads(out.read_text())["results"]
    assert row["images"] == 2
    assert row["case"] == "small, a training step of 2 images of 96x64"
    assert result.per_second() == pytest.approx((2000 / row["ours_ms"], 2000 / row["peer_ms"]))
    assert f"| {result.per_second()[0]:.3g} | torchvision |" in capsys.readouterr().out
    assert roi_layers.backend() == "csrc"


def test_other_losses_are_noticed() -> None:
    step = training.STEPS[0]
    with pytest.raises(AssertionError, match="demo's detector, loss_cls"):
        training.check(step, {"loss_cls": torch.tensor(1.0)}, {"loss_cls": torch.tensor(1.2)})
