"""Two processes (gloo, CPU) train and evaluate as one does: the same losses and weights, the same figures."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from forked import run

from repmet.data.files import tensor_cache
from repmet.detection import evaluate, train
from repmet.experiments.running.processes import my_share

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def exact(glyph_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The experiment without what makes a mean over halves differ from the mean over the whole: batch statistics (each
    process has its own), random choices of regions and of objects to paste, and different numbers of regions an image."""
    halves = {"_delete_": True, "type": "MaxIoUAssigner", "pos_iou_thr": 0.5, "neg_iou_thr": 0.5, "min_pos_iou": 0.5}
    halves |= {"match_low_quality": False}
    every = {"_delete_": True, "type": "RandomSampler", "num": 10**6, "pos_fraction": 1.0, "add_gt_as_proposals": False}
    hardest = {"_delete_": True, "type": "RepMetOHEMSampler", "num": 8, "add_gt_as_proposals": True}
    sgd = {"type": "SGD", "lr": 0.02, "momentum": 0.9}
    changes = {
        "_base_": str(glyph_run / "tiny.yaml"),
        "model": {
            "backbone": {
                "_delete_": True,
                "type": "ResNet",
                "depth": 18,
                "base_channels": 8,
                "num_stages": 3,
                "strides": [1, 2, 2],
                "dilations": [1, 1, 1],
                "out_indices": [0, 1, 2],
                "norm_eval": True,
            },
            "neck": {"in_channels": [8, 16, 32], "norm_cfg": None},
            "roi_head": {"bbox_head": {"num_convs": 0, "num_fcs": 1, "fc_channels": 32}},
            "train_cfg": {
                "rpn": {"assigner": halves, "sampler": every},
                "rpn_proposal": {"max_per_img": 30},
                "rcnn": {"assigner": halves, "sampler": hardest},
            },
        },
        "train_pipeline": [
            {"type": "LoadImageFromFile"},
            {"type": "LoadAnnotations", "with_bbox": True},
            {"type": "PackDetInputs"},
        ],
        "train_dataloader": {"batch_size": 4},
        "optim_wrapper": {"_delete_": True, "type": "OptimWrapper", "optimizer": sgd},
        "train_cfg": {"max_epochs": 2},
        "param_scheduler": [{"type": "MultiStepLR", "milestones": [1]}],
        "custom_hooks": [],
        "default_hooks": {"logger": {"interval": 1}},
    }
    path = tmp_path_factory.mktemp("exact") / "exact.yaml"
    path.write_text(yaml.safe_dump(changes))
    return path


def test_two_processes_train_as_one_of_the_same_total_batch(exact: Path, tmp_path: Path) -> None:
    """As a user types it, by torchrun."""
    run(train.main, exact, "--work-dir", tmp_path / "one", log=tmp_path / "log_one")
    command = [str(Path(sys.executable).with_name("torchrun")), "--standalone", "--nproc-per-node", "2", "-m"]
    command += ["detection.train", str(exact), "--work-dir", str(tmp_path / "two")]
    command += ["--cfg-options", "train_dataloader.batch_size=2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("checkpoint: ") == 1, "one of the two says it"
    first, second = (torch.load(tmp_path / d / "epoch_2.pth", weights_only=True) for d in ("one", "two"))
    assert first["meta"]["iter"] == second["meta"]["iter"] == 4  # 8 images, 4 a step, 2 epochs
    logs_of_one, logs_of_two = (
        {k: v["log"].numpy() for k, v in c["message_hub"]["log_scalars"].items()} for c in (first, second)
    )
    losses = [name for name in logs_of_one if "loss" in name]
    assert {"train/loss", "train/loss_rpn_cls", "train/loss_rpn_bbox", "train/loss_cls", "train/loss_bbox"} <= {*losses}
    for name in losses:
        assert len(logs_of_one[name]) == 4
        np.testing.assert_allclose(logs_of_one[name], logs_of_two[name], rtol=1e-4, atol=1e-6, err_msg=name)
    assert logs_of_one["train/loss"][0] > 1
    moved = 0.0
    start = torch.load(tmp_path / "one" / "epoch_1.pth", weights_only=True)["state_dict"]
    for name, value in first["state_dict"].items():
        other = second["state_dict"][name]
        torch.testing.assert_close(value, other, rtol=1e-3, atol=2e-5, msg=lambda m, n=name: f"{n}: {m}")
        moved = max(moved, float((value - start[name]).abs().max()))
    assert moved > 1e-3  # the agreement is about a training, not about its start


def test_two_processes_measure_what_one_does(glyph_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with a cache of its own, for what the one embedded the other would find."""
    options = ("--shot", "1", "--finetune", "--cfg-options", "finetune.epochs=1", "--out")
    arguments = (evaluate.main, glyph_run / "tiny.yaml", glyph_run / "epoch_1.pth", *options)
    monkeypatch.setattr(tensor_cache, "CACHE", tmp_path / "cache_two")
    said = run(*arguments, tmp_path / "two", processes=2, log=tmp_path / "log_two")
    assert "written: " in said[0] and "written: " not in said[1]
    monkeypatch.setattr(tensor_cache, "CACHE", tmp_path / "cache_one")
    said = run(*arguments, tmp_path / "one", log=tmp_path / "log_one")
    assert "were embedded before" not in said[0]
    first, second = (json.loads((tmp_path / d / "metrics.json").read_text()) for d in ("one", "two"))
    assert first["results"] == second["results"] and first["base"] == second["base"]
    assert len(first["results"]) == 4 and first["differences"] == second["differences"]


def test_the_shares_of_all_processes_are_all_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = []
    for rank in range(3):
        monkeypatch.setattr("repmet.experiments.running.processes.process_number", lambda rank=rank: rank)
        monkeypatch.setattr("repmet.experiments.running.processes.processes", lambda: 3)
        shares.append(my_share(range(10)))
    assert (
        sorted(piece for share in shares for piece in share) == list(range(10))
        and max(map(len, shares)) - min(map(len, shares)) <= 1
    )
