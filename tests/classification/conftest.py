"""A small experiment of the classification tree: glyphs of 16 pixels, a narrow conv4, seconds of training."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from repmet.classification.methods import RepMet
from repmet.experiments.running.checkpoints import save_checkpoint

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
PROTONET = """
_base_: {runtime}
tree: classification
data:
  source: glyph_characters
  arguments: {{characters: 12, per_class: 8, size: 16}}
  train: train
  val: val
  test: test
train_pipeline: [{{type: ToFloat}}]
test_pipeline: [{{type: ToFloat}}]
model:
  type: ProtoNet
  encoder: {{type: Conv4, width: 8, image_size: 16}}
train_dataloader:
  num_workers: 0
  batch_sampler: {{type: EpisodeBatchSampler, way: 6, shot: 1, query: 3, episodes: 10}}
train_cfg: {{type: EpochBasedTrainLoop, max_epochs: 3}}
optim_wrapper: {{type: OptimWrapper, optimizer: {{type: Adam, lr: 0.003}}}}
param_scheduler: [{{type: StepLR, step_size: 2, gamma: 0.5}}]
custom_hooks:
  - {{type: ValidationHook, monitor: episode_loss, patience: 5, episodes: 40}}
episodes: {{way: 5, shot: [1, 3], query: 4, episodes: 50, seed: 1}}
"""


@pytest.fixture(autouse=True)
def _one_thread():
    """Sums of floats depend on how many threads share them, and small ones are slower with several."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def write_experiment(folder: Path, text: str = PROTONET, name: str = "own.yaml", over: str = "") -> Path:
    """Writes an experiment, Prototypical Networks on glyphs unless `text` is another; `over` inherits it."""
    path = folder / name
    path.write_text(text.format(runtime=os.path.relpath(EXPERIMENTS / "_base_" / "runtime.yaml", folder)))
    if over:
        (folder / "base.yaml").write_text(path.read_text())
        path.write_text("_base_: base.yaml\n" + over)
    return path


@pytest.fixture
def experiment(tmp_path: Path) -> Callable[..., Path]:
    """`write_experiment` into the test's own folder."""
    return partial(write_experiment, tmp_path)


CLOSED = """
_base_: {runtime}
tree: classification
data:
  source: digits
  arguments: {{train_per_class: 12, val_per_class: 5, test_per_class: 6, seed: null}}
  train: train
  val: val
  test: test
train_pipeline: [{{type: ToFloat}}]
test_pipeline: [{{type: ToFloat}}]
model:
  type: RepMet
  num_modes: 2
  encoder: {{type: LeNet, widths: [4, 8], image_size: 8}}
  head: {{type: EmbeddingHead, out_channels: 6, hidden: 16}}
train_dataloader:
  num_workers: 0
  batch_sampler: {{type: ClassBatchSampler, classes: 6, per_class: 4, batches: 12}}
train_cfg: {{type: EpochBasedTrainLoop, max_epochs: 3}}
optim_wrapper: {{type: OptimWrapper, optimizer: {{type: Adam, lr: 0.01}}}}
custom_hooks:
  - {{type: ValidationHook, monitor: simple_accuracy, unsupervised: false}}
"""

MAGNET = """
model: {_delete_: true, type: Magnet, num_clusters: 2, encoder: {type: LeNet, widths: [4, 8], image_size: 8}}
train_dataloader: {batch_sampler: {_delete_: true, type: ClusterBatchSampler, clusters: 5, per_cluster: 4, batches: 12}}
custom_hooks: [{type: IndexHook, interval: 5}, {type: ValidationHook, monitor: magnet_accuracy, unsupervised: false}]
"""
SOFTMAX = """
model: {_delete_: true, type: Softmax, encoder: {type: LeNet, widths: [4, 8], image_size: 8}}
train_dataloader: {batch_size: 24, batch_sampler: null}
custom_hooks: [{type: ValidationHook, monitor: classifier_accuracy, unsupervised: false}]
"""
TRIPLET = """
model:
  _delete_: true
  type: MetricLearning
  loss: {type: pml.TripletMarginLoss, margin: 0.2}
  encoder: {type: LeNet, widths: [4, 8], image_size: 8}
  head: {type: EmbeddingHead, out_channels: 6}
"""
MEANS = """
model: {_delete_: true, type: NearestClassMean, encoder: {type: LeNet, widths: [4, 8], image_size: 8, frozen: true}}
train_dataloader: {batch_size: 50, batch_sampler: null}
train_cfg: {max_epochs: 1}
"""
KMEANS_START = """
model: {initial: kmeans, normalize: true}
custom_hooks: [{type: ClusteredStartHook}, {type: ValidationHook, monitor: repmet_accuracy, unsupervised: false}]
optim_wrapper: {paramwise_cfg: {custom_keys: {representatives: {lr_mult: 0.1}}}}
"""
METHODS = {
    "RepMet": "",
    "RepMet, k-means": KMEANS_START,
    "Magnet": MAGNET,
    "Softmax": SOFTMAX,
    "MetricLearning": TRIPLET,
    "NearestClassMean": MEANS,
}


@pytest.fixture(params=METHODS)
def closed(request: pytest.FixtureRequest, experiment: Callable[..., Path]) -> Path:
    """An experiment on digits of every method that learns the classes that it is tested on."""
    return experiment(CLOSED, over=METHODS[request.param])


COLOURS = {"blue": (30, 40, 220), "green": (30, 200, 60), "red": (220, 40, 30)}
COLOUR_ENCODER = {"type": "Conv4", "in_channels": 3, "width": 16, "image_size": 16}
COLOUR_EXPERIMENT = """
tree: classification
data: {source: image_folder, root: nowhere, train: all, size: 16}
test_pipeline: [{type: ToFloat}]
model:
  type: RepMet
  sigma: 0.4
  encoder: {type: Conv4, in_channels: 3, width: 16, image_size: 16}
  head: {type: EmbeddingHead, out_channels: 6}
train_cfg: {type: EpochBasedTrainLoop, max_epochs: 1}
"""


@pytest.fixture(scope="session")
def picture() -> Callable[..., np.ndarray]:
    """A noisy picture of a colour by its name, (H, W, 3) uint8."""

    def make(name: str, seed: int, size: tuple[int, int] = (24, 20)) -> np.ndarray:
        noise = np.random.default_rng(seed).integers(-25, 26, (*size, 3))
        return np.clip(np.array(COLOURS[name]) + noise, 0, 255).astype(np.uint8)

    return make


@pytest.fixture(scope="session")
def folders(picture: Callable[..., np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders of four pictures each, and a hidden file."""
    root = tmp_path_factory.mktemp("colours")
    for name in COLOURS:
        (root / name).mkdir()
        for k in range(4):
            Image.fromarray(picture(name, k)).save(root / name / f"{k}.png")
        (root / name / "._0.png").write_text("x")
    return root


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a RepMet classifier on colours, as it starts."""
    torch.manual_seed(0)
    method = RepMet(COLOUR_ENCODER, {"type": "EmbeddingHead", "out_channels": 6}, num_classes=7)
    path = tmp_path_factory.mktemp("run") / "best.pth"
    meta = {"experiment": {"tree": "classification", "name": "colours", "yaml": COLOUR_EXPERIMENT, "method": "RepMet"}}
    save_checkpoint({"state_dict": method.state_dict(), "meta": meta}, path)
    return path


@pytest.fixture(scope="session")
def protonet(tmp_path_factory) -> tuple[Path, Path]:
    """An experiment and the run folder of its training, two epochs of Prototypical Networks."""
    from tests.classification.test_train import train  # which imports from here

    folder = tmp_path_factory.mktemp("protonet")
    path = write_experiment(folder)
    assert train(path, "--work-dir", folder / "run", "--cfg-options", "train_cfg.max_epochs=2") == 0
    return path, folder / "run"
