"""The evaluate command: figures against independent ones, the splits of the training, comparison, pictures, bad input."""

import http.server
import json
import shutil
import threading
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats

from repmet.classification.checkpoint import load_trained
from repmet.classification.experiment import read_split
from repmet.classification.metrics.confusion import confusion, most_confused
from repmet.classification.pictures.page import decisions
from repmet.classification.protocols.evaluation import evaluate
from repmet.data.files.digest import sha256_of
from repmet.experiments.config.loading import load_experiment
from repmet.experiments.running.checkpoints import experiment_of
from tests.classification.conftest import (
    CLOSED,
    MAGNET,
    SOFTMAX,
    TRIPLET,
)
from tests.classification.evaluating import command, failure, measured
from tests.classification.test_train import train


def accuracy(embeddings: torch.Tensor, support: torch.Tensor, query: torch.Tensor) -> float:
    """One episode in NumPy: support (way, shot), query (way, Q) as indices."""
    x = embeddings.double().numpy()
    means = np.stack([x[row].mean(0) for row in support.long().numpy()])
    right = [
        np.square(means - x[i]).sum(1).argmin() == c for c, row in enumerate(query.long().numpy()) for i in row.tolist()
    ]
    return float(np.mean(right))


def test_episodes(protonet, tmp_path, capsys):
    path, folder = protonet
    metrics = measured(path, folder, tmp_path / "a")
    printed = capsys.readouterr().out
    assert [row["metric"] for row in metrics["results"]] == ["5-way 1-shot accuracy", "5-way 3-shot accuracy"]
    for row in metrics["results"]:
        assert (row["dataset"], row["split"], row["method"]) == ("glyph_characters", "test", "Prototypical Networks")
        assert (row["n"], row["seeds"]) == (50, [0])
        assert f"{100 * row['mean']:.2f} ± {100 * row['ci95']:.2f}" in printed
    assert (
        metrics["training"]["epochs"] == 2 and metrics["training"]["losses"] and metrics["checkpoint"].endswith("best.pth")
    )

    trained = load_trained(load_experiment(path), folder)
    result = evaluate(trained)
    for row, (metric, episodes) in zip(metrics["results"], result.episodes.items(), strict=True):
        mine = [accuracy(result.embeddings, s, q) for s, q in zip(episodes.support, episodes.query, strict=True)]
        assert row["mean"] == pytest.approx(np.mean(mine))
        assert row["ci95"] == pytest.approx(stats.t.ppf(0.975, 49) * np.std(mine, ddof=1) / np.sqrt(50))
        assert {"hash": episodes.hash, "metric": metric}.items() <= next(
            e for e in metrics["episodes"] if e["metric"] == metric
        ).items()
        episodes.check(result.images.labels)


def test_the_command_line_changes_the_episodes(protonet, tmp_path, monkeypatch):
    path, folder = protonet
    monkeypatch.chdir(tmp_path)
    shutil.copytree(folder, tmp_path / "run")  # without --out it writes there, and for a file into work_dirs/
    homes = {"run": tmp_path / "run", "run/best.pth": tmp_path / "work_dirs" / "own"}
    options = ("--episodes", 20, "--way", 4, "--shot", 2, "--query", 3, "--split", "val")
    for name, seed, checkpoint in (("a", 5, "run"), ("b", 5, "run/best.pth"), ("c", 6, "run")):
        assert command(path, checkpoint, *options, "--seed", seed) == 0
        assert not (homes[checkpoint] / "index.html").exists()
        (homes[checkpoint] / "metrics.json").rename(tmp_path / f"{name}.json")
    a, b, c = (json.loads((tmp_path / f"{name}.json").read_text()) for name in "abc")
    assert a["results"] == b["results"] and a["episodes"] == b["episodes"] != c["episodes"]
    (row,) = a["results"]
    assert (row["metric"], row["split"], row["n"]) == ("4-way 2-shot accuracy", "val", 20)


def test_comparison_on_the_same_episodes(protonet, tmp_path, capsys):
    path, folder = protonet
    metrics = measured(path, folder / "epoch_2.pth", tmp_path / "a", against=str(folder / "epoch_1.pth"))
    printed = capsys.readouterr().out
    first, second = (evaluate(load_trained(load_experiment(path), folder / f"epoch_{e}.pth")) for e in (2, 1))
    assert len(metrics["paired"]) == 2
    for row in metrics["paired"]:
        difference = (first.accuracies[row["metric"]] - second.accuracies[row["metric"]]).numpy()
        assert row["mean"] == pytest.approx(difference.mean())
        assert row["ci95"] == pytest.approx(stats.t.ppf(0.975, 49) * difference.std(ddof=1) / np.sqrt(50))
        assert row["episodes"] == first.episodes[row["metric"]].hash and row["against"].endswith("epoch_1.pth")
        assert f"{100 * row['mean']:+.2f} ± " in printed


@pytest.mark.parametrize("over", ["", SOFTMAX, TRIPLET], ids=["RepMet", "Softmax", "class means"])
def test_comparison_over_the_same_images(experiment, tmp_path, capsys, over):
    path = experiment(CLOSED, over=over)
    assert train(path, "--work-dir", tmp_path / "run", "--cfg-options", "train_cfg.max_epochs=2") == 0
    paths = [tmp_path / "run" / f"epoch_{e}.pth" for e in (2, 1)]
    metrics = measured(path, paths[0], tmp_path / "a", against=str(paths[1]))
    assert "percentage points" in capsys.readouterr().out
    single = [measured(path, p, tmp_path / p.stem)["results"] for p in paths]
    first, second = ({row["metric"]: row for row in rows if row["split"] == "test"} for rows in single)
    paired = {row["metric"]: row for row in metrics["paired"]}
    assert paired.keys() == first.keys() - {"unsupervised accuracy"} and ("classifier accuracy" in paired) == (
        over == SOFTMAX
    )
    for metric, row in paired.items():
        assert row["mean"] == pytest.approx(first[metric]["mean"] - second[metric]["mean"]) and row["episodes"] is None
        assert row["n"] == first[metric]["n"] == 60
        widths = [figures[metric]["ci95"] for figures in (first, second)]
        assert abs(widths[0] - widths[1]) - 1e-9 <= row["ci95"] <= sum(widths) + 1e-9
    same = measured(path, paths[0], tmp_path / "b", against=str(paths[0]))["paired"]
    assert all(row["mean"] == row["ci95"] == 0 for row in same)


def test_whole_sets_by_every_rule_on_the_splits_of_the_training(experiment, tmp_path):
    path = experiment(CLOSED)
    assert train(path, "--work-dir", tmp_path / "run", "--seed", 3) == 0
    metrics = measured(path, tmp_path / "run", tmp_path / "a")  # the experiment says nothing of the seed
    rows = {(row["split"], row["metric"]): row for row in metrics["results"]}
    rules = ("simple", "magnet", "repmet", "unsupervised")
    assert rows.keys() == {(split, f"{rule} accuracy") for split in ("train", "test") for rule in rules}
    assert rows["train", "simple accuracy"]["n"] == 120 and rows["test", "simple accuracy"]["n"] == 60
    assert all(row["seeds"] == [3] and row["method"] == "RepMet, CVPR" for row in rows.values())
    row = rows["test", "simple accuracy"]
    p = row["mean"]
    assert 0.2 < p < 1 and row["ci95"] == pytest.approx(stats.t.ppf(0.975, 59) * np.sqrt(p * (1 - p) / 59))

    trained = load_trained(load_experiment(path), tmp_path / "run")
    result = evaluate(trained)
    seed3 = load_experiment(path, {"data.arguments.seed": 3})
    assert torch.equal(result.images.images, read_split(seed3, "test").images)
    assert not torch.equal(result.images.images, read_split(load_experiment(path), "test").images)
    points = trained.method.representatives.points.detach()  # (10, 2, e)
    d2 = torch.cdist(result.embeddings, points.flatten(0, 1)).square()
    assert p == pytest.approx((d2.argmin(1) // 2 == result.images.labels).double().mean().item())
    w = torch.exp(-2 * d2.double()).unflatten(1, (10, 2)).sum(-1)
    assert rows["test", "repmet accuracy"]["mean"] == pytest.approx((w.argmax(1) == result.images.labels).double().mean())


@pytest.mark.parametrize(("over", "more"), [(MAGNET, set()), (SOFTMAX, {"classifier accuracy"})])
def test_other_methods(experiment, tmp_path, over, more):
    path = experiment(CLOSED, over=over)
    assert train(path, "--work-dir", tmp_path / "run") == 0
    metrics = measured(path, tmp_path / "run", tmp_path / "a")
    rows = {row["metric"]: row["mean"] for row in metrics["results"] if row["split"] == "test"}
    assert rows.keys() == {f"{rule} accuracy" for rule in ("simple", "magnet", "repmet", "unsupervised")} | more
    assert all(mean > 0.15 for mean in rows.values())


def test_the_page(protonet, experiment, tmp_path, monkeypatch):
    path, folder = protonet
    monkeypatch.setattr("classification.pictures.page.PAIRS", 2)  # every picture in a grid takes its time
    assert command(path, folder, "--out", tmp_path / "a") == 0
    closed = experiment(CLOSED, name="closed.yaml")
    assert train(closed, "--work-dir", tmp_path / "closed", "--cfg-options", "train_cfg.max_epochs=1") == 0
    assert command(closed, tmp_path / "closed", "--out", tmp_path / "b") == 0
    for out, names in (
        (tmp_path / "a", {"embedding", "confusion", "pairs", "episode", "episode_worst"}),
        (tmp_path / "b", {"embedding", "confusion", "pairs"}),
    ):
        page = (out / "index.html").read_text()
        assert {p.stem for p in out.glob("*.png")} == names
        for name in names:
            assert f'src="{name}.png"' in page
            picture = np.asarray(Image.open(out / f"{name}.png").convert("RGB"))
            assert min(picture.shape[:2]) > 200 and len(np.unique(picture.reshape(-1, 3), axis=0)) > 10
        assert "%" in page and "accuracy" in page


def test_confusion_counts_every_decision(protonet):
    path, folder = protonet
    result = evaluate(load_trained(load_experiment(path), folder))
    true, predicted, indices = decisions(result)
    metric = "5-way 1-shot accuracy"
    assert len(true) == 50 * 5 * 4 and torch.equal(result.images.labels[indices], true)
    assert (true == predicted).double().mean().item() == pytest.approx(result.accuracies[metric].mean().item())
    counts = confusion(true, predicted, 12)
    loop = torch.zeros(12, 12, dtype=torch.long)
    for a, b in zip(true.tolist(), predicted.tolist(), strict=True):
        loop[a, b] += 1
    assert torch.equal(counts, loop)
    pairs = most_confused(counts, 3)
    errors = sorted((int(loop[a, b]) for a in range(12) for b in range(12) if a != b), reverse=True)
    assert [n for _, _, n in pairs] == errors[:3] and all(loop[a, b] == n and a != b for a, b, n in pairs)
    assert most_confused(torch.eye(3).long(), 5) == []


def test_a_checkpoint_by_its_address(protonet, tmp_path, monkeypatch, capsys):
    path, folder = protonet
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        sha256 = sha256_of(folder / "best.pth")
        address = f"http://127.0.0.1:{server.server_port}/best.pth#sha256={sha256}"
        a = measured(path, address, tmp_path / "a")
        assert "another file than was asked for" in failure(capsys, path, address.replace(sha256, "0" * 64))
    finally:
        server.shutdown()
        server.server_close()
    b = measured(path, folder / "best.pth", tmp_path / "b")
    assert a["results"] == b["results"] and a["checkpoint"] == address
    assert a["sha256"] == b["sha256"] == sha256
    options = "--cfg-options train_cfg.max_epochs=2"
    assert a["command"] == b["command"] == f"python -m classification.train {path} {options}"
    assert load_trained(experiment_of(folder / "best.pth"), folder).command is None  # an experiment without a file
