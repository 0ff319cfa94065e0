"""Per-episode fine-tuning: what it trains and ignores, that it undoes itself, and that a bad episode costs only itself."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import DefaultScope

from repmet.data.sources.voc import read_image_set
from repmet.detection import evaluate
from repmet.detection.checkpoint import Detector
from repmet.detection.embedding.embedder import Embedder
from repmet.detection.episodes.sampling import sample_episodes
from repmet.detection.few_shot_detector import FewShotDetector
from repmet.detection.modules.repmet_head import RepMetBBoxHead
from repmet.detection.protocols.episodic import Pools, evaluate_episodes, evaluate_finetuned
from repmet.detection.scoring.finetune import EpisodeDiverged, FinetuneRule, adapted, support_infos, trained_parameters
from repmet.detection.scoring.representatives import SupportSet
from repmet.detection.scoring.rule import FewShotRule

FREE = FewShotRule()


@pytest.fixture(scope="module")
def opened(glyph_run) -> Detector:
    detector = FewShotDetector(glyph_run)
    return Detector(detector.model, detector.cfg, {})


@pytest.fixture(scope="module")
def supports(glyph_run):
    """Two images and one box of each of two classes in them."""
    first, second = read_image_set(glyph_run / "scenes", "novel_support")[:2]
    return SupportSet(("a", "b"), [[(first.id, 0)], [(second.id, 1)]], {first.id: first, second.id: second}, {})


def start(model, supports) -> torch.Tensor:
    e = model.roi_head.bbox_head.fc_embed.out_features
    return torch.nn.functional.normalize(torch.randn(2, 1, e), dim=-1)


def state(model) -> dict:
    return {name: value.clone() for name, value in model.state_dict().items()}


def everything(model) -> tuple:
    head = model.roi_head.bbox_head
    flags = {name: p.requires_grad for name, p in model.named_parameters()}
    return flags, id(head.representatives), id(head.fc_aux), head.num_classes, model.training


def support_loss(opened, supports, seed: int):
    """The detector's own loss on all support images at once, with the random choices of a seed."""
    with DefaultScope.overwrite_default_scope("mmdet"):
        steps = [opened.cfg.test_pipeline[0], {"type": "LoadAnnotations", "with_bbox": True}]
        load = Compose(steps + list(opened.cfg.test_pipeline[1:]))
    data = opened.model.data_preprocessor(pseudo_collate([load(i) for i in support_infos(supports)]), True)
    torch.manual_seed(seed)
    return opened.model.parse_losses(opened.model.loss(data["inputs"], data["data_samples"]))


@pytest.mark.parametrize("train", ["embedding", "head", "all"])
def test_it_trains_what_it_says_and_undoes_itself(opened, supports, train) -> None:
    model = opened.model
    before, facts = state(model), everything(model)
    rule = FinetuneRule(train=train, epochs=2, lr=0.01)
    first = start(model, supports)
    with adapted(model, opened.cfg.test_pipeline, supports, first, rule) as points:
        inside = state(model)
        assert points.shape == first.shape and not torch.equal(points, first)
        torch.testing.assert_close(points.norm(dim=-1), torch.ones(2, 1))
        moved = {name for name in before if name in inside and before[name].shape == inside[name].shape}
        moved = {name for name in moved if not torch.equal(before[name], inside[name])} - {
            "roi_head.bbox_head.representatives.weight"
        }
    prefix = {"embedding": "roi_head.bbox_head.fc_embed.", "head": "roi_head.bbox_head.", "all": ""}[train]
    assert moved and all(name.startswith(prefix) for name in moved)
    assert not any("running_" in name for name in moved)  # batch statistics stay those of the training
    assert ("rpn_head.rpn_conv.weight" in moved) == (train == "all")
    assert ("roi_head.bbox_head.fc_reg.weight" in moved) == (train != "embedding")
    after = state(model)
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    assert everything(model) == facts and all(p.grad is None for p in model.parameters())


def test_one_step_is_sgd_on_the_detectors_own_loss(opened, supports) -> None:
    """The step by hand: loss of the same batch with the same random choices, its gradient, `w - lr (g + decay w)`."""
    model = opened.model
    rule = FinetuneRule(epochs=1, lr=0.05, momentum=0.9, weight_decay=0.01, seed=3)
    first = start(model, supports)
    weight = model.roi_head.bbox_head.fc_embed.weight.detach().clone()
    with adapted(model, opened.cfg.test_pipeline, supports, first, rule) as points:
        after = model.roi_head.bbox_head.fc_embed.weight.detach().clone()
    with (
        adapted(model, opened.cfg.test_pipeline, supports, first, FinetuneRule(epochs=1, lr=1e-30)),
        torch.enable_grad(),
    ):
        head = model.roi_head.bbox_head
        for p in trained_parameters(model, "embedding"):
            p.requires_grad_(True)
        loss, parts = support_loss(opened, supports, 3)
        assert "loss_aux" not in parts and {"loss_cls", "loss_embed", "loss_bbox", "loss_rpn_cls"} <= parts.keys()
        gradient, embed = torch.autograd.grad(loss, [head.representatives.weight, head.fc_embed.weight])
    torch.testing.assert_close(after, weight - 0.05 * (embed + 0.01 * weight))
    expected = torch.nn.functional.normalize(first - 0.05 * (gradient + 0.01 * first), dim=-1)
    torch.testing.assert_close(points, expected, atol=1e-5, rtol=1e-4)


def test_unlabelled_objects_are_ignored(opened, supports) -> None:
    infos = support_infos(supports)
    assert [[i["ignore_flag"] for i in info["instances"]].count(0) for info in infos] == [1, 1]
    assert infos[0]["instances"][0]["ignore_flag"] == 0 and infos[1]["instances"][1]["ignore_flag"] == 0
    assert [infos[0]["instances"][0]["bbox_label"], infos[1]["instances"][1]["bbox_label"]] == [0, 1]
    first = infos[0]["img_id"]
    both = support_infos(replace(supports, boxes=[[(first, 0)], [(first, 1)]]))
    assert len(both) == 1 and [i["bbox_label"] for i in both[0]["instances"]][:2] == [0, 1]


@pytest.mark.parametrize("train", ["embedding", "head"])
def test_the_loss_of_the_supports_falls(opened, supports, train) -> None:
    """By plain gradient steps that are short enough, seen with the choices of regions that were trained on."""
    model = opened.model
    first, losses = start(model, supports), []
    for epochs, lr in ((1, 1e-30), (1, 1e-3), (6, 1e-3)):
        rule = FinetuneRule(train=train, epochs=epochs, lr=lr, momentum=0.0, weight_decay=0.0)
        with adapted(model, opened.cfg.test_pipeline, supports, first, rule):
            losses.append(float(support_loss(opened, supports, 0)[0]))
    assert losses[0] > losses[1] > losses[2], losses


def test_what_goes_wrong_inside_is_undone_too(opened, supports) -> None:
    model = opened.model
    before, facts = state(model), everything(model)
    first = start(model, supports)
    with pytest.raises(KeyError), adapted(model, opened.cfg.test_pipeline, supports, first, FinetuneRule(epochs=1)):
        raise KeyError
    wild = FinetuneRule(lr=1e20, epochs=4, train="all")
    diverges = pytest.raises(EpisodeDiverged, match="is not finite in epoch")
    with diverges, adapted(model, opened.cfg.test_pipeline, supports, first, wild):
        raise AssertionError("it should not come to this")
    after = state(model)
    assert all(torch.equal(before[name], after[name]) for name in before) and everything(model) == facts


@pytest.fixture(scope="module")
def episodes(glyph_run):
    pools = Pools.of(*(read_image_set(glyph_run / "scenes", f"novel_{role}") for role in ("support", "query")))
    classes = (glyph_run / "scenes/classes_novel.txt").read_text().split()
    support, query = list(pools.support.values()), list(pools.query.values())
    drawn = sample_episodes(support, query, way=2, shots=[1], query_images=1, episodes=3, seed=1, classes=classes)
    return drawn, pools


@pytest.mark.parametrize("train", ["embedding", "head"])
def test_no_learning_is_no_fine_tuning(opened, episodes, train) -> None:
    """With a learning rate of nothing the figures are those of RepMet without it."""
    drawn, pools = episodes
    embedded = Embedder(opened.model, opened.cfg.test_pipeline)(pools.used_by(drawn))
    rule = FinetuneRule(train=train, lr=1e-30, epochs=1)
    (tuned,) = evaluate_finetuned(drawn, pools, embedded, FREE, rule, opened)
    (plain,) = evaluate_episodes(drawn, pools, embedded, FREE, methods=["repmet"])
    assert (tuned.method, tuned.shot, tuned.skipped) == ("repmet_finetuned", 1, ())
    a, b = tuned.metric.compute(), plain.metric.compute()
    for figure in ("repmet_pooled", "pooled_ap", "episode_map", "recall"):
        assert a[figure] == pytest.approx(b[figure], abs=1e-5)


def test_an_episode_that_diverges_is_skipped_and_named(opened, episodes, monkeypatch, capsys) -> None:
    drawn, pools = episodes
    embedded = Embedder(opened.model, opened.cfg.test_pipeline)(pools.used_by(drawn))
    parse_losses, calls = opened.model.parse_losses, []

    def parse(losses):
        calls.append(1)
        loss, parts = parse_losses(losses)
        return (loss * torch.nan, parts | {"loss_cls": torch.tensor(torch.nan)}) if len(calls) == 2 else (loss, parts)

    monkeypatch.setattr(opened.model, "parse_losses", parse)
    rule = FinetuneRule(train="head", epochs=1, batch_size=8)
    (result,) = evaluate_finetuned(drawn, pools, embedded, FREE, rule, opened)
    assert result.skipped == (1,)
    assert result.metric.per_episode()["episode"].tolist() == [0, 2]
    assert "episode 1, 1-shot, is skipped: loss_cls is not finite in epoch 1" in capsys.readouterr().out


def test_weights_that_the_last_step_spoils_are_noticed(opened, supports, monkeypatch) -> None:
    """Its loss is finite and no other follows; the features of such a detector would all be NaN."""
    model = opened.model
    step = torch.optim.SGD.step

    def spoil(self, *arguments) -> None:
        step(self, *arguments)
        with torch.no_grad():
            self.param_groups[0]["params"][-1].view(-1)[0] = torch.inf

    monkeypatch.setattr(torch.optim.SGD, "step", spoil)
    before, first = state(model), start(model, supports)
    diverges = pytest.raises(EpisodeDiverged, match="weights are not finite after 1 epochs")
    with diverges, adapted(model, opened.cfg.test_pipeline, supports, first, FinetuneRule(epochs=1, batch_size=8)):
        raise AssertionError("it should not come to this")
    assert all(torch.equal(before[name], value) for name, value in state(model).items())


def test_where_every_episode_diverges_the_other_methods_are_kept(glyph_run, tmp_path, capsys) -> None:
    options = ["--shot", "1", "--episodes", "2", "--query", "1", "--finetune", "--out", str(tmp_path)]
    changes = ["finetune.epochs=3", "finetune.lr=1e20", "finetune.train=all", "data.base_test=null"]
    assert evaluate.main([str(glyph_run / "tiny.yaml"), str(glyph_run), *options, "--cfg-options", *changes]) == 0
    said = capsys.readouterr().out
    assert "episode 1, 1-shot, is skipped" in said and "fine-tuning diverged in all episodes, 1-shot" in said
    rows = json.loads((tmp_path / "metrics.json").read_text())["results"]
    assert [row["method"] for row in rows] == ["repmet", "baseline_untrained", "baseline_roi"]


def test_the_command_compares_all_methods(glyph_run, tmp_path, capsys) -> None:
    methods = ["repmet", "baseline_roi", "np_repmet", "calibrated", "baseline_ft", "tfa_cosine"]
    options = ["--shot", "1", "--episodes", "2", "--query", "1", "--finetune", "--out", str(tmp_path)]
    changes = [f"episodes.methods=[{', '.join(methods)}]", "finetune.epochs=1", "data.base_test=null"]
    arguments = [str(glyph_run / "tiny.yaml"), str(glyph_run), *options, "--cfg-options", *changes]
    assert evaluate.main(arguments) == 0, capsys.readouterr().err
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert [row["method"] for row in metrics["results"]] == [*methods, "repmet_finetuned"]
    assert [row["protocol"]["finetune"] for row in metrics["results"]] == [False] * 6 + [True]
    assert [row["method"] for row in metrics["differences"]] == [*methods[1:], "repmet_finetuned"]
    assert np.isfinite([row["difference"] for row in metrics["differences"]]).all()
    assert "minus repmet         shot  episode mAP     95 % interval      pooled AP" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["episodes.methods=[repmet, repment]"], "no few-shot method 'repment'"),
        (["finetune.epochs=0"], "at least 1"),
        (["head"], "knows no negative representatives yet"),
    ],
)
def test_what_cannot_be_done_is_said_before_the_network_runs(
    glyph_run, tmp_path, capsys, monkeypatch, changes, message
) -> None:
    if changes == ["head"]:
        changes = []
        monkeypatch.setattr(RepMetBBoxHead, "negatives", object(), raising=False)
    monkeypatch.setattr(Embedder, "_batch", lambda self, records: pytest.fail("it ran"))
    arguments = [str(glyph_run / "tiny.yaml"), str(glyph_run), "--finetune", "--out", str(tmp_path / "out")]
    assert evaluate.main([*arguments, "--cfg-options", "data.base_test=null", *changes]) == 2
    assert message in capsys.readouterr().err and not (tmp_path / "out").exists()


@pytest.mark.parametrize(("wrong", "message"), [("train=heads", "one of embedding, head, all"), ("epochs=0", "at least 1")])
def test_a_rule_that_makes_no_sense(wrong, message) -> None:
    key, value = wrong.split("=")
    with pytest.raises(ValueError, match=message):
        FinetuneRule(**{key: int(value) if value.isdigit() else value})
