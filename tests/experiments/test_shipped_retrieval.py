"""Every retrieval experiment that the project ships trains for two iterations and measures itself, on glyphs."""

import math
from pathlib import Path

import pytest
import torch

from repmet.classification.pml.losses import ProbabilisticProxyLoss
from repmet.experiments.config.loading import load_experiment
from repmet.experiments.config.suites import experiment_name, experiments_in
from repmet.experiments.running.launcher import build_runner

ROOT = Path(__file__).parents[2]
COMPARED, PUBLISHED = "experiments/classification/retrieval.yaml", "experiments/published/classification/nivmf.yaml"
RETRIEVAL = [
    Path(address).relative_to(ROOT).as_posix() for suite in (COMPARED, PUBLISHED) for address in experiments_in(ROOT / suite)
]
RECIPES = (
    "elnivmf_cub200_r50_128",
    "elnivmf_cub200_r50_512",
    "elnivmf_cars196_r50_128",
    "elnivmf_cars196_r50_512",
    "elnivmf_sop_r50_512",
)
ENCODER = {"_delete_": True, "type": "Conv4", "width": 4, "image_size": 16}


def test_the_recipes_and_the_similarities_are_there():
    assert {experiment_name(name) for name in RETRIEVAL} >= set(RECIPES)
    for similarity in ("el_nivmf", "el_vmf", "b_vmf", "kl_vmf", "nivmf", "l2", "cosine"):
        cfg = load_experiment(ROOT / f"{PUBLISHED}:ablation_{similarity}_cub200_r50_512")
        assert cfg.model.loss.similarity == similarity and cfg.model.loss.guidance_weight == 0
    cfg = load_experiment(ROOT / f"{PUBLISHED}:elnivmf_cars196_r50_128")
    assert cfg.model.encoder.name == "resnet50" and cfg.model.encoder.frozen_statistics
    assert cfg.data.source == "cars196" and cfg.model.head.out_channels == 128


def test_the_losses_compared_differ_in_nothing_else():
    for data in ("cars_crops", "omniglot"):
        kinds = [load_experiment(ROOT / name) for name in RETRIEVAL if f":{data}_" in name]
        assert len(kinds) >= 8
        for key in ("data", "train_cfg", "train_dataloader", "train_pipeline", "test_pipeline"):
            assert all(cfg[key] == kinds[0][key] for cfg in kinds), key
        assert all(cfg.model.encoder == kinds[0].model.encoder for cfg in kinds)


@pytest.mark.parametrize("name", RETRIEVAL)
def test_it_trains(name, tmp_path):
    cfg = load_experiment(ROOT / name)
    hooks = [dict(hook) for hook in cfg.custom_hooks]
    for hook in hooks:
        if hook["type"] == "RetrievalHook":
            hook |= {"metrics": ["recall@1", *(m for m in hook["metrics"] if "@R" in m or "AUROC" in m)], "store": []}
    options = {
        "data": {
            "_delete_": True,
            "source": "glyph_characters",
            "arguments": {"characters": 12, "per_class": 6, "size": 16},
            "train": "train",
            "val": "val",
            "test": "test",
        },
        "train_pipeline": [{"type": "ToFloat"}],
        "test_pipeline": [{"type": "ToFloat"}],
        "train_dataloader.num_workers": 0,
        "train_dataloader.batch_sampler.classes": 3,
        "train_dataloader.batch_sampler.batches": 2,
        "train_cfg.max_epochs": 1,
        "default_hooks.checkpoint.interval": -1,
        "default_hooks.checkpoint.save_last": False,
        "custom_hooks": hooks,
        "model.encoder": ENCODER,
    }
    if cfg.model.get("head"):
        options["model.head.out_channels"] = 16
    runner = build_runner(load_experiment(ROOT / name, options), work_dir=tmp_path / "run")
    before = {key: value.clone() for key, value in runner.model.state_dict().items()}
    runner.train()
    losses = runner.message_hub.log_scalars["train/loss"].data[0]
    assert runner.iter == 2 and all(math.isfinite(value) for value in losses)
    trained = {key for key, _ in runner.model.named_parameters() if "bias" not in key}
    after = runner.model.state_dict()
    assert not {key for key in trained if torch.equal(before[key], after[key])}, "some weight has not moved"
    if isinstance(runner.model.criterion, ProbabilisticProxyLoss):
        wrapper = runner.optim_wrapper
        rates = {id(p): group for group in wrapper.param_groups for p in group["params"]}
        proxy_group = rates[id(runner.model.criterion.proxies.directions)]
        assert (
            proxy_group["initial_lr" if "initial_lr" in proxy_group else "lr"] > cfg.optim_wrapper.optimizer.lr
            and proxy_group["weight_decay"] == 0
        )
