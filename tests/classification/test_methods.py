"""Every method from a YAML: it learns, a resume is exact, and each part does what its own section says."""

import math

import pytest
import torch
from torch import Tensor

from repmet.classification.inputs.features import FeatureSet
from repmet.classification.methods import Magnet, MetricLearning, RepMet
from repmet.classification.protocols.embedding import embed_split
from repmet.classification.train import main
from repmet.experiments.config.loading import load_experiment
from repmet.experiments.running.checkpoints import load_checkpoint
from repmet.experiments.running.launcher import build_runner
from tests.classification.conftest import CLOSED, KMEANS_START, MAGNET, MEANS, SOFTMAX, TRIPLET
from tests.classification.test_train import failure, train


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_it_learns_and_a_resume_is_exact(closed, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert train(closed, "--work-dir", whole) == 0
    last = sorted(whole.glob("epoch_*.pth"))[-1]
    validation = load_checkpoint(last)["meta"]["validation"]
    assert validation["value"] > 0.25  # of ten digits, after a second of training
    if last.name != "epoch_1.pth":
        assert train(closed, "--work-dir", parts, "--resume", whole / "epoch_2.pth") == 0
        assert equal(load_checkpoint(last)["state_dict"], load_checkpoint(parts / last.name)["state_dict"])
        assert load_checkpoint(parts / last.name)["meta"]["validation"] == validation


def test_representatives_start_from_clusters_once(experiment, tmp_path):
    path = experiment(CLOSED, over=KMEANS_START)
    still = ["--cfg-options", "optim_wrapper.optimizer.lr=0.0", "train_cfg.max_epochs=1"]
    assert train(path, "--work-dir", tmp_path / "a", *still) == 0
    state = load_checkpoint(tmp_path / "a" / "epoch_1.pth")["state_dict"]
    assert state["started"]
    runner = build_runner(load_experiment(path), work_dir=tmp_path / "c")
    method = runner.model
    assert isinstance(method, RepMet) and not method.started
    # every centre is the mean of the embeddings nearest to it, by the untrained network that the seed gives
    fresh = build_runner(load_experiment(path), work_dir=tmp_path / "d").model
    fresh.load_state_dict({k: v for k, v in state.items() if "running" not in k}, strict=False)
    images = runner.train_dataloader.dataset
    before = {k: v.clone() for k, v in state.items()}
    state["representatives.weight"].add_(0.5)
    torch.save({"state_dict": state, "meta": {}}, tmp_path / "moved.pth")
    moved = [f"load_from={tmp_path / 'moved.pth'}"]
    assert train(path, "--work-dir", tmp_path / "b", *still, *moved) == 0
    kept = load_checkpoint(tmp_path / "b" / "epoch_1.pth")["state_dict"]["representatives.weight"]
    torch.testing.assert_close(kept, before["representatives.weight"] + 0.5)
    assert images.labels.shape == (120,)


def test_clusters_are_those_of_the_embeddings_as_the_test_sees_them(experiment, tmp_path):
    runner = build_runner(load_experiment(experiment(CLOSED, over=KMEANS_START)), work_dir=tmp_path)
    images, method = runner.train_dataloader.dataset, runner.model
    expected = embed_split(method, images)
    next(hook for hook in runner.hooks if type(hook).__name__ == "ClusteredStartHook").before_train(runner)
    assert method.started
    centres = method.representatives.weight.detach()
    for c in range(10):
        of_class = expected[images.labels == c]
        nearest = torch.cdist(of_class, centres[c]).argmin(1)
        for k in nearest.unique():
            torch.testing.assert_close(of_class[nearest == k].mean(0), centres[c, k])


def test_representatives_have_their_own_learning_rate(experiment, tmp_path):
    runner = build_runner(load_experiment(experiment(CLOSED, over=KMEANS_START)), work_dir=tmp_path)
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    rates = {id(p): group["lr"] for group in runner.optim_wrapper.param_groups for p in group["params"]}
    weight = runner.model.representatives.weight
    assert rates[id(weight)] == pytest.approx(0.001)
    assert {rate for key, rate in rates.items() if key != id(weight)} == {0.01}


def test_magnet_keeps_its_index_and_variance(experiment, tmp_path):
    path = experiment(CLOSED, over=MAGNET)
    assert train(path, "--work-dir", tmp_path / "run") == 0
    state = load_checkpoint(tmp_path / "run" / "epoch_3.pth")["state_dict"]
    assert state["index.centres"].shape == (10, 2, 32) and state["index.assignment"].shape == (120,)
    assert state["index.seen"].any() and math.isfinite(state["index.sigma2"]) and state["index.batches"] == 36
    runner = build_runner(load_experiment(path), work_dir=tmp_path / "again")
    method = runner.model
    assert isinstance(method, Magnet) and method.class_representatives() is None
    method.load_state_dict(state)
    images = runner.train_dataloader.dataset
    embeddings = embed_split(method, images)
    # the index in the checkpoint goes with its weights: every centre is the mean of its members
    for cluster in state["index.assignment"].unique().tolist():
        centre = embeddings[state["index.assignment"] == cluster].mean(0)
        torch.testing.assert_close(state["index.centres"].flatten(0, 1)[cluster], centre, rtol=1e-4, atol=1e-5)
    assert method.predict(embeddings).eq(images.labels).float().mean() > 0.5


def test_train_mode_comes_back_after_a_refresh(experiment, tmp_path):
    runner = build_runner(load_experiment(experiment(CLOSED, over=MAGNET)), work_dir=tmp_path)
    modes = []
    step = runner.model.train_step

    def watched(*args, **kwargs):
        modes.append(runner.model.training)
        return step(*args, **kwargs)

    runner.model.train_step = watched
    runner.train()
    assert len(modes) == 36 and all(modes)


def test_nearest_class_mean_is_the_mean(experiment, tmp_path):
    assert train(experiment(CLOSED, over=MEANS), "--work-dir", tmp_path / "run") == 0
    runner = build_runner(load_experiment(experiment(CLOSED, over=MEANS)), work_dir=tmp_path / "again")
    runner.model.load_state_dict(load_checkpoint(tmp_path / "run" / "epoch_1.pth")["state_dict"])
    images = runner.train_dataloader.dataset
    embeddings = embed_split(runner.model, images)
    means = runner.model.class_representatives()
    for c in range(10):
        torch.testing.assert_close(means.points[c, 0], embeddings[images.labels == c].mean(0))
    nearest = torch.cdist(embeddings, means.points[:, 0]).argmin(1)
    assert torch.equal(runner.model.predict(embeddings), nearest)


def test_a_resume_keeps_to_the_splits_of_its_seed(experiment, tmp_path, capsys):
    path, work = experiment(CLOSED), ("--work-dir", tmp_path / "run")
    assert train(path, *work, "--seed", 3, "--cfg-options", "train_cfg.max_epochs=1") == 0
    said = failure(capsys, path, *work, "--resume", "auto")
    assert "it was 3 and is 0 now: resume with --seed 3" in said
    assert train(path, *work, "--resume", "auto", "--seed", 3) == 0


FROZEN = """
model: {encoder: {frozen: true}}
data: {cache_features: true}
train_pipeline: [{type: RandomHorizontalFlip}, {type: ToFloat}]
"""


def test_cached_features_are_those_of_the_images(experiment, tmp_path, monkeypatch):
    monkeypatch.setattr("repmet.data.files.tensor_cache.CACHE", tmp_path / "cache")
    path = experiment(CLOSED, over=FROZEN)
    runner = build_runner(load_experiment(path), work_dir=tmp_path / "run")
    images, method = runner.train_dataloader.dataset, runner.model
    assert isinstance(images, FeatureSet) and images.features is None
    pixels = images.__getitems__(list(range(120)))["inputs"]  # not computed yet: images, unmirrored
    runner.train()
    assert images.features.shape == (120, 2, 32)
    method.eval()
    with torch.no_grad():
        torch.testing.assert_close(images.features[:, 0], method.encoder(pixels))
        torch.testing.assert_close(images.features[:, 1], method.encoder(pixels.flip(-1)))
    drawn = images.__getitems__([7] * 200)["inputs"]
    share = (drawn == images.features[7, 1]).all(1).float().mean()
    assert 0.3 < share < 0.7
    assert torch.equal(images.plain().__getitems__([7] * 9)["inputs"], images.features[[7] * 9, 0])
    # a second run reads them, also where some are damaged, and another network does not
    kept = sorted((tmp_path / "cache").iterdir())
    assert len(kept) == 3  # training, its mirror images, and validation
    whole = kept[0].read_bytes()
    for damaged in (whole[:200], b"no tensor"):
        kept[0].write_bytes(damaged)
        with pytest.warns(UserWarning, match="cannot be read"):
            assert main([str(path), "--work-dir", str(tmp_path / "b")]) == 0
        assert kept[0].stat().st_size == len(whole)
    assert sorted((tmp_path / "cache").iterdir()) == kept
    assert main([str(path), "--work-dir", str(tmp_path / "c"), "--seed", "1"]) == 0
    assert len(list((tmp_path / "cache").iterdir())) == 6


@pytest.mark.parametrize(
    ("over", "said"),
    [
        (FROZEN.replace("frozen: true", "frozen: false"), "data.cache_features: the encoder is trained"),
        (FROZEN.replace("RandomHorizontalFlip", "RandomVerticalFlip"), "may differ from test_pipeline by RandomHorizontal"),
        ("model: {loss: {name: v4}}\n", "RepMetLoss has no loss 'v4'"),
        ("model: {loss: {name: v1, margin: 1.0}}\n", "the loss v1 has no margin; it has alpha"),
        ("model: {initial: clusters}\n", "random or kmeans, not 'clusters'"),
        ("model: {_delete_: true, type: Magnet, encoder: {type: LeNet}}\n", "Magnet learns from clusters"),
        (TRIPLET.replace("TripletMarginLoss", "TripletMarginLos"), "did you mean 'TripletMarginLoss'?"),
        (TRIPLET.replace("margin:", "margn:"), "unknown key model.loss.margn of TripletMarginLoss; did you mean 'margin'?"),
        (SOFTMAX + "data: {source: glyph_characters, arguments: {_delete_: true, size: 8}}\n", "takes a section `episodes`"),
        ("train_dataloader: {batch_sampler: {per_class: 13}}\n", "13 images of each class are needed"),
        ("train_dataloader: {batch_sampler: {classes: 11}}\n", "classes=11 classes a batch, but there are 10"),
        ("custom_hooks: [{type: IndexHook}]\n", "IndexHook is a hook of Magnet, not of RepMet"),
    ],
)
def test_errors_are_one_line(experiment, tmp_path, capsys, over, said):
    assert said in failure(capsys, experiment(CLOSED, over=over), "--work-dir", tmp_path / "run")


def test_a_loss_of_pml_with_weights_is_sized_and_trained():
    method = MetricLearning(
        {"type": "LeNet", "widths": [4, 8], "image_size": 8}, loss={"type": "pml.ProxyAnchorLoss"}, num_classes=5
    )
    assert [p.shape for p in method.criterion.parameters()] == [(5, 32)]
    method.loss(torch.randn(10, 32, requires_grad=True), torch.arange(10) % 5, None)["loss"].backward()
    assert all(p.grad is not None for p in method.criterion.parameters())
