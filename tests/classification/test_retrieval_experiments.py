"""Retrieval experiments from YAML to figures: parts of PML, samplers, warm start, checkpoints by figure, the command."""

import json

import pytest
import torch
import torch.nn.functional as F

from repmet.classification.metrics.retrieval import retrieve
from repmet.classification.metrics.retrieval_figures import retrieval_figures
from repmet.classification.pml.losses import ProbabilisticProxyLoss
from repmet.classification.protocols.embedding import embed_split
from repmet.classification.retrieve import main
from repmet.experiments.config.loading import load_experiment
from repmet.experiments.running.checkpoints import load_checkpoint
from repmet.experiments.running.launcher import build_runner
from tests.classification.test_train import failure, train
from tests.experiments.running.test_launcher import events

GLYPHS = """
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
  type: MetricLearning
  encoder: {{type: Conv4, width: 4, image_size: 16}}
  head: {{type: EmbeddingHead, out_channels: 8, normalize: false}}
  loss: {{type: pml.ProbabilisticProxyLoss, similarity: el_nivmf, temperature: 0.5, guidance_weight: 0.5}}
train_dataloader:
  num_workers: 0
  batch_sampler: {{type: ClassBatchSampler, classes: 4, per_class: 4, batches: 3}}
train_cfg: {{type: EpochBasedTrainLoop, max_epochs: 2}}
optim_wrapper:
  type: OptimWrapper
  optimizer: {{type: Adam, lr: 0.003, weight_decay: 0.01}}
  paramwise_cfg: {{custom_keys: {{criterion.proxies.log_kappas: {{lr_mult: 7, decay_mult: 0}}}}}}
custom_hooks:
  - {{type: WarmStartHook, proxies_only: 1}}
  - {{type: RetrievalHook, metrics: [recall@1, MAP@R, NMI, AUROC by norm], store: [MAP@R, recall@1], train_metrics: true}}
"""
SAMPLED = """
model:
  loss:
    _delete_: true
    type: pml.TripletMarginLoss
    distance: {type: CosineSimilarity}
    reducer: {type: ThresholdReducer, high: 0.3}
    embedding_regularizer: {type: LpRegularizer}
  miner: {type: pml.MultiSimilarityMiner, epsilon: 0.1}
train_dataloader:
  batch_size: 12
  batch_sampler: null
  sampler: {type: pml.MPerClassSampler, m: 3, batch_size: 12, length_before_new_iter: 24}
custom_hooks: [{type: RetrievalHook, metrics: [recall@1], train_metrics: false}]
"""


def test_proxies_train_and_are_retrieved_with(experiment, tmp_path, capsys):
    path, run = experiment(GLYPHS), tmp_path / "run"
    assert train(path, "--work-dir", run) == 0
    files = {p.name for p in run.glob("best*.pth")}
    assert files == {"best.pth", "best_MAP@R.pth", "best_recall@1.pth"}
    kept = load_checkpoint(run / "epoch_2.pth")["meta"]["retrieval"]
    assert main([str(path), str(run), "--out", str(tmp_path / "out"), "--split", "val"]) == 0
    rows = {r["metric"]: r["mean"] for r in json.loads((tmp_path / "out" / "retrieval.json").read_text())["results"]}
    assert {p.name for p in (tmp_path / "out").glob("*.png")} == {
        "certain.png", "neighbours.png", "risk.png", "spoilt.png"
    }  # fmt: skip
    assert rows["MAP@R"] == pytest.approx(kept["best"]["MAP@R"], abs=1e-6) and 0 < rows["NMI"] <= 1
    names = ["kNN@3", "NED loss", "norm@50"]
    assert main([str(path), str(run), "--metrics", *names, "--split", "val"]) == 0
    printed = capsys.readouterr().out
    assert "recall@8" in printed
    assert len(json.loads((tmp_path / "out" / "retrieval.json").read_text())["risk_coverage"]["norm"]["risk"]) > 1
    content = json.loads((run / "retrieval.json").read_text())
    rows = {r["metric"]: r["mean"] for r in content["results"]}
    assert not content["risk_coverage"] and list(rows) == names and f"norm@50   {rows['norm@50']:.4f}" in printed
    assert main([str(path), str(run), "--metrics", "recal@1"]) == 2
    assert "no figure 'recal@1'; there are: recall@K" in capsys.readouterr().err


def test_warm_start_and_rates(experiment, tmp_path):
    still = {"optim_wrapper.optimizer.lr": 0.0, "train_cfg.max_epochs": 1}
    runner = build_runner(load_experiment(experiment(GLYPHS), still), work_dir=tmp_path)
    method, images = runner.model, runner.train_dataloader.dataset
    assert isinstance(method.criterion, ProbabilisticProxyLoss)
    hook = next(h for h in runner.hooks if type(h).__name__ == "WarmStartHook")
    hook.before_train(runner)
    e = embed_split(method, images)
    means = torch.stack([e[images.labels == c].mean(0) for c in range(len(images.classes))])
    torch.testing.assert_close(method.criterion.proxies.means.detach(), F.normalize(means, dim=1), rtol=1e-4, atol=1e-5)
    hook.before_train_epoch(runner)
    free = {name for name, p in method.named_parameters() if p.requires_grad}
    assert free == {n for n, _ in method.named_parameters() if n.startswith("criterion.")}
    runner.train_loop._epoch = 1
    hook.before_train_epoch(runner)
    assert all(p.requires_grad for p in method.parameters())
    wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    rates = {id(p): (g["lr"], g["weight_decay"]) for g in wrapper.param_groups for p in g["params"]}
    assert rates[id(method.criterion.proxies.log_kappas)] == (0.0, 0.0)


def test_a_sampler_miner_and_nested_parts_of_the_package(experiment, tmp_path):
    path = experiment(GLYPHS, over=SAMPLED)
    runner = build_runner(load_experiment(path), work_dir=tmp_path / "run")
    loss = runner.model.criterion
    assert type(loss.distance).__name__ == "CosineSimilarity" and loss.embedding_regularizer is not None
    batch = next(iter(runner.train_dataloader))["labels"]
    assert len(batch) == 12 and batch.bincount().max() == 3
    runner.train()
    assert runner.iter == 4


@pytest.mark.parametrize(
    ("options", "said"),
    (
        (["model.loss.type=pml.ProxyAnchrLoss"], "did you mean 'ProxyAnchorLoss'?"),
        (["model.loss.concentraton=3"], "did you mean 'concentration'?"),
        (["model.loss.similarity=el_vfm"], "similarity is one of"),
        (["model.miner={type: pml.MultiSimilarityMinr}"], "did you mean 'MultiSimilarityMiner'?"),
        (["train_dataloader.sampler={type: pml.MPerClasSampler, m: 2}"], "did you mean 'MPerClassSampler'?"),
        (["model.head=null", "model.init_norm_multiplier=3"], "give the model a head"),
    ),
)
def test_errors_are_one_line(experiment, tmp_path, capsys, options, said):
    assert said in failure(capsys, experiment(GLYPHS), "--work-dir", tmp_path / "run", "--cfg-options", *options)


def test_the_head_starts_larger(experiment, tmp_path):
    path = experiment(GLYPHS)
    weights = []
    for factor in (1, 30):
        runner = build_runner(load_experiment(path, {"model.init_norm_multiplier": factor}), work_dir=tmp_path / str(factor))
        weights.append(runner.model.head.layers[-1].weight.detach())
    torch.testing.assert_close(weights[1], 30 * weights[0])


def test_figures_by_name():
    torch.manual_seed(0)
    e, y = torch.randn(60, 8), torch.arange(60) % 5
    figures = retrieval_figures(e, y, ("Euclidean recall@2", "mAP", "F1", "AUROC by cosine"))
    assert list(figures) == ["Euclidean recall@2", "mAP", "F1", "AUROC by cosine"]
    assert figures["Euclidean recall@2"] == retrieve(e, y, metric="euclidean").means()["recall@2"]
    assert figures["mAP"] == retrieve(e, y, whole_ranking=True).means()["mAP"]
    with pytest.raises(ValueError, match="no figure 'Euclidean AUROC by norm'"):
        retrieval_figures(e, y, ("Euclidean AUROC by norm",))


BY_FIGURES = """
custom_hooks:
  - type: RetrievalHook
    metrics: [recall@1, kNN@3, AURC by norm, intra/inter]
    store: [AURC by norm, intra/inter, kNN@3]
    train_metrics: true
    patience: 3
train_cfg: {max_epochs: 3}
"""


def test_checkpoints_of_figures_whose_least_value_is_best(experiment, tmp_path):
    runner = build_runner(load_experiment(experiment(GLYPHS, over=BY_FIGURES)), work_dir=tmp_path / "run")
    runner.train()
    run = tmp_path / "run"
    assert {p.name for p in run.glob("best*.pth")} == {
        "best.pth", "best_AURC_by_norm.pth", "best_intra_over_inter.pth", "best_kNN@3.pth"
    }  # fmt: skip
    scalars = [v for e in events(run / "tensorboard") for v in e.summary.value]
    for name, best in (("AURC by norm", min), ("intra/inter", min), ("kNN@3", max)):
        tag = name.replace(" ", "_").replace("@", "_")  # as TensorBoard has it
        values = [v.simple_value for v in scalars if v.tag == f"val/{tag}"]
        assert len(values) == 3 and len([v for v in scalars if v.tag == f"train/{tag}"]) == 3
        kept = load_checkpoint(run / f"best_{name.replace(' ', '_').replace('/', '_over_')}.pth")["meta"]["retrieval"][
            "best"
        ]
        assert kept[name] == pytest.approx(best(values), abs=1e-6)


def test_metrics_and_storage_from_the_command_line(experiment, tmp_path):
    run = tmp_path / "run"
    options = ["custom_hooks.1.metrics=[MAP@R, norm@50]", "custom_hooks.1.store=[norm@50]", "train_cfg.max_epochs=1"]
    options += ["custom_hooks.1.train_metrics=false"]
    assert train(experiment(GLYPHS), "--work-dir", run, "--cfg-options", *options) == 0
    tags = {v.tag for e in events(run / "tensorboard") for v in e.summary.value if v.tag.startswith(("val/", "train/"))}
    assert tags == {"val/MAP_R", "val/norm_50"} and {p.name for p in run.glob("best*")} == {"best.pth", "best_norm@50.pth"}
