"""The training benchmark trains one model both ways, on equal losses, and writes images a second."""

import json
import math
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

pytest.importorskip("mmdet")

from repmet.benchmarks import detectors, training
from repmet.benchmarks.tables.metrics_files import run_of
from repmet.benchmarks.tables.pages import render
from repmet.model_definitions import roi_layers

pytestmark = pytest.mark.skipif(roi_layers.backend() != "csrc", reason="csrc is not compiled")


def test_a_small_detector_both_ways(monkeypatch, tmp_path, capsys) -> None:
    step = training.Step("small", "detection/demo.yaml", 5, 2, (64, 96))
    monkeypatch.setattr(training, "STEPS", (step,))
    monkeypatch.setattr(training, "PAIRS", ())
    monkeypatch.setattr(training, "step_memory", lambda step, way, threads: 100.0 + way)
    out = tmp_path / "training.json"
    (result,) = training.main(["--seconds", "0.05", "--threads", "1", "--out", str(out)])
    (row,) = json.loads(out.read_text())["results"]
    assert (row["images"], row["ours_mib"], row["peer_mib"]) == (2, 100.0, 101.0)
    assert row["case"] == "small, a training step of 2 images of 96x64"
    assert result.per_second() == pytest.approx((2000 / row["ours_ms"], 2000 / row["peer_ms"]))
    assert f"| {result.per_second()[0]:.3g} | torchvision |" in capsys.readouterr().out
    assert roi_layers.backend() == "csrc"


def test_other_losses_are_noticed() -> None:
    step = training.STEPS[0]
    with pytest.raises(AssertionError, match="demo's detector, loss_cls"):
        training.check(step, {"loss_cls": torch.tensor(1.0)}, {"loss_cls": torch.tensor(1.2)})


@pytest.fixture
def small_pairs() -> tuple[detectors.Pair, detectors.Pair]:
    return tuple(replace(pair, images=1, size=(64, 96)) for pair in detectors.PAIRS)


@pytest.mark.parametrize("which", [0, 1])
def test_whole_detectors_are_of_one_size_and_train(small_pairs, which: int) -> None:
    pair = small_pairs[which]
    detectors.check_pair(pair, *training.built(pair))


def test_pairs_are_timed_beside_their_aims(monkeypatch, tmp_path, capsys) -> None:
    def linear(batch: dict) -> detectors.Training:
        assert len(batch["inputs"]) == 3 and batch["inputs"][0].shape == (3, 64, 96)
        layer = torch.nn.Linear(8, 8)
        return detectors.Training(layer, lambda: {"loss": layer(torch.ones(8)).sum()})

    pair = detectors.Pair("one", linear, "the other", linear, 0.5, images=3, size=(64, 96))
    monkeypatch.setattr(training, "STEPS", ())
    monkeypatch.setattr(training, "PAIRS", (pair,))
    monkeypatch.setattr(training, "step_memory", lambda step, way, threads: 100.0 + way)
    out = tmp_path / "training.json"
    (row,) = training.main(["--seconds", "0.05", "--threads", "1", "--out", str(out)])
    assert (row.case, row.peer) == ("one, a training step of 3 images of 96x64", "the other")
    said = capsys.readouterr().out
    assert "at least 0.5x is the aim" in said and said.rstrip().endswith("| 100 | 101 |")
    table = render("benchmarks", [run_of(json.loads(out.read_text()), family="benchmarks", name="training", revision="abc")])
    assert "| spread | ours, MiB | peer, MiB |" in table and "| 100 | 101 |" in table


def test_the_pairs_differ_in_what_they_say(small_pairs) -> None:
    """The heads share everything else: the weights of backbone, neck and proposal network have the same names and shapes."""
    softmax, repmet = (detectors.mmdet_config(), small_pairs[1].ours(training.random_batch(small_pairs[1])).model)
    from mmdet.registry import MODELS
    from mmengine.registry import DefaultScope

    with DefaultScope.overwrite_default_scope("mmdet"):
        softmax = MODELS.build(softmax)
    shapes = [{n: p.shape for n, p in model.named_parameters() if "bbox_head" not in n} for model in (softmax, repmet)]
    assert shapes[0] == shapes[1] and type(repmet.roi_head.bbox_head).__name__ == "RepMetBBoxHead"
    assert repmet.train_cfg == softmax.train_cfg


def test_unequal_detectors_are_not_timed(small_pairs) -> None:
    pair = small_pairs[0]
    tiny = detectors.Training(torch.nn.Linear(2, 2), lambda: {"loss": torch.tensor(1.0)})
    with pytest.raises(AssertionError, match=r"6 weights are trained, and [\d,]+ of torchvision"):
        detectors.check_pair(pair, tiny, pair.theirs(training.random_batch(pair)))
    bad = detectors.Training(tiny.model, lambda: {"loss": torch.tensor(math.nan)})
    with pytest.raises(AssertionError, match="softmax head: loss is nan"):
        detectors.check_pair(small_pairs[1], tiny, bad)


def test_memory_is_that_of_one_way() -> None:
    """In a process of its own: the greatest memory of this one may have been greater before."""
    code = """
import torch
from repmet.benchmarks import detectors, training
def way(mib):
    return lambda batch: detectors.Training(torch.nn.Linear(1, 1), lambda: {"loss": torch.ones(mib * 2**18).sum()})
pair = detectors.Pair("one", way(100), "the other", way(400), 1.0, images=1, size=(64, 96))
print(training.own_step_memory(pair, 0), training.own_step_memory(pair, 1))
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    first, second = map(float, done.stdout.splitlines()[-1].split())
    assert 95 < first < 200 and 295 < second < 400, "the second is beyond the greatest of before"
