"""Every key that nothing reads is refused, with its file and the nearest key that something reads."""

import importlib
import re

import pytest
import toy.experiment  # noqa: F401
from mmengine.registry import HOOKS, PARAM_SCHEDULERS, TRANSFORMS, Registry

from repmet.experiments.config.loading import experiment_text, load_experiment, parse_experiment
from repmet.experiments.config.signatures import accepted_arguments
from repmet.experiments.config.strictness import UnknownKey, check_keys
from repmet.experiments.running.launcher import build_runner


@pytest.mark.parametrize(
    ("text", "key", "near"),
    [
        ("max_epoch: 3", "max_epoch", "train_cfg.max_epochs"),
        ("train_dataloder: {batch_size: 3}", "train_dataloder", "train_dataloader"),
        ("custom_imports: {imports: [os]}", "custom_imports", "custom_hooks"),
        ("data: {sise: 3}", "data.sise", "size"),
        ("model: {dims: 3}", "model.dims of ToyModel", "dim"),
        ("model: {train_cfg: {hed: {}}}", "model.train_cfg.hed", "head"),
        ("model: {train_cfg: {head: {nose: 3}}}", "model.train_cfg.head.nose", "noise"),
        ("model: {test_cfg: {head: {score_th: 3}}}", "model.test_cfg.head.score_th", "score_thr"),
        ("model: {init_cfg: {type: Pretrained, checkpoin: a}}", "model.init_cfg.checkpoin of PretrainedInit", "checkpoint"),
        ("train_dataloader: {batchsize: 3}", "train_dataloader.batchsize", "batch_size"),
        ("train_dataloader: {sampler: {shufle: 3}}", "train_dataloader.sampler.shufle of DefaultSampler", "shuffle"),
        ("train_dataloader: {dataset: {type: ToyDataset, slo: 1}}", "train_dataloader.dataset.slo of ToyDataset", "slow"),
        ("train_cfg: {max_epoch: 3}", "train_cfg.max_epoch of EpochBasedTrainLoop", "max_epochs"),
        ("optim_wrapper: {clip_grad: {max_nrm: 3}}", "optim_wrapper.clip_grad.max_nrm", "max_norm"),
        ("optim_wrapper: {optimizer: {momentun: 3}}", "optim_wrapper.optimizer.momentun of SGD", "momentum"),
        ("optim_wrapper: {paramwise_cfg: {norm_decay: 0}}", "optim_wrapper.paramwise_cfg.norm_decay", "norm_decay_mult"),
        ("param_scheduler: [{type: LinearLR, start_fact: 1}]", "param_scheduler.0.start_fact of LinearLR", "start_factor"),
        ("default_hooks: {loger: {type: LoggerHook}}", "default_hooks.loger", "logger"),
        ("default_hooks: {checkpoint: {max_keep_ckpt: 1}}", "default_hooks.checkpoint.max_keep_ckpt of S", "max_keep_ckpts"),
        ("randomness: {sed: 1}", "randomness.sed", "seed"),
        ("env_cfg: {mp_cfg: {start: fork}}", "env_cfg.mp_cfg.start", "mp_start_method"),
        (
            "visualizer: {vis_backends: [{type: LocalVisBackend, safe_dir: a}]}",
            "visualizer.vis_backends.0.safe_dir",
            "save_dir",
        ),
    ],
)
def test_unknown_key(write_yaml, text, key, near):
    with pytest.raises(ValueError) as caught:
        load_experiment(write_yaml(text))
    message = str(caught.value)
    assert "\n" not in message
    assert re.search(rf"own\.yaml: unknown key {re.escape(key)}", message)
    assert message.endswith(f"did you mean {near!r}?") or near in message.split("known keys: ")[-1]


@pytest.mark.parametrize(
    ("option", "name", "near"),
    [
        ("model.type=ToyModle", "ToyModle", "ToyModel"),
        ("optim_wrapper.optimizer.type=sgd", "sgd", "SGD"),
        ("train_dataloader.sampler.type=DefaultSample", "DefaultSample", "DefaultSampler"),
        ("param_scheduler.1.type=MultistepLR", "MultistepLR", "MultiStepLR"),
        ("default_hooks.logger.type=LogerHook", "LogerHook", "LoggerHook"),
        (
            "optim_wrapper.constructor=DefaultOptimWraperConstructor",
            "DefaultOptimWraperConstructor",
            "DefaultOptimWrapperCo",
        ),
        ("model.init_cfg={type: Xavir}", "Xavir", "Xavier"),
    ],
)
def test_unknown_type(toy_yaml, option, name, near):
    with pytest.raises(ValueError, match=rf"^--cfg-options \(over .*toy\.yaml\): unknown .* '{name}'; did you mean '{near}"):
        load_experiment(toy_yaml, [option])


@pytest.mark.parametrize("name", ["os.system", "toy.experiment.ToyModel"])
def test_no_object_outside_the_registries(toy_yaml, tmp_path, name):
    """mmengine imports whatever a dotted `type` names: neither a file nor a checkpoint's experiment may."""
    with pytest.raises(ValueError, match=rf"unknown model\.type '{re.escape(name)}'"):
        load_experiment(toy_yaml, [f"model.type={name}"])
    embedded = load_experiment(toy_yaml)
    embedded.model.type = name
    with pytest.raises(ValueError, match=rf"unknown model\.type '{re.escape(name)}'"):
        build_runner(parse_experiment(experiment_text(embedded), "checkpoint"), work_dir=tmp_path)


def test_names_the_base_that_has_the_typo(write_yaml):
    write_yaml("data: {sise: 3}\n", name="base.yaml")
    with pytest.raises(ValueError, match=r"base\.yaml: unknown key data\.sise"):
        load_experiment(write_yaml("_base_: base.yaml\ndata: {size: 4}\n", base=False))


def test_arguments_handed_on_to_the_parent_are_known():
    names, any_other = accepted_arguments(PARAM_SCHEDULERS.get("MultiStepLR"))
    assert {"milestones", "gamma", "begin", "end", "by_epoch"} <= names
    assert not any_other
    names, any_other = accepted_arguments(HOOKS.get("EMAHook"))  # hands **kwargs to the averaged model
    assert "ema_type" in names
    assert any_other


def test_keys_of_an_open_constructor_pass(toy_yaml):
    cfg = load_experiment(toy_yaml, ["custom_hooks=[{type: EMAHook, momentum: 1e-3, priority: 49}]"])
    assert cfg.custom_hooks[0].momentum == 1e-3


MMDET = "mmdet::_base_/models/faster-rcnn_r50_fpn.py"


@pytest.fixture
def mmdet_yaml(write_yaml, monkeypatch):
    try:
        importlib.import_module("repmet.detection")
        importlib.import_module("mmdet.models")
    except ImportError as error:
        pytest.skip(f"needs mmdet: {error}")
    stages = {"rpn": {"assigner": None, "sampler": None, "allowed_border": None, "pos_weight": None, "debug": None}}
    sections = {"train_cfg": stages | {"rpn_proposal": None, "rcnn": None}, "test_cfg": {"rpn": None, "rcnn": None}}
    monkeypatch.setattr("toy.experiment.MODEL_SECTIONS", sections)
    return write_yaml(f"_base_: {MMDET}\ntree: toy\n", base=False)


def test_stock_faster_rcnn_passes(mmdet_yaml):
    assert load_experiment(mmdet_yaml).model.roi_head.bbox_head.type == "Shared2FCBBoxHead"


@pytest.mark.parametrize(
    ("option", "near"),
    [
        ("model.bakbone={}", "backbone"),
        ("model.backbone.dept=18", "depth"),
        ("model.backbone.norm_cfg.requires_gradd=true", "requires_grad"),
        ("model.rpn_head.anchor_generator.stride=[4]", "strides"),
        ("model.roi_head.bbox_head.loss_cls.loss_wight=2", "loss_weight"),
        ("model.roi_head.bbox_roi_extractor.roi_layer.output_sze=7", "output_size"),
        ("model.train_cfg.rpn.assigner.pos_iou_th=0.7", "pos_iou_thr"),
        ("model.train_cfg.rpn.alowed_border=0", "allowed_border"),
        ("model.backbone.type=ResNt", "ResNet"),
        ("model.roi_head.bbox_roi_extractor.roi_layer.type=RoiAlign", "RoIAlign"),
    ],
)
def test_typo_in_faster_rcnn(mmdet_yaml, option, near):
    with pytest.raises(ValueError, match=rf"unknown .*did you mean '{near}'\?"):
        load_experiment(mmdet_yaml, [option])


def test_a_trees_own_name_wins_over_that_of_another_package(monkeypatch):
    monkeypatch.setattr(TRANSFORMS, "_children", dict(TRANSFORMS.children))
    toy_registry = Registry("own", parent=TRANSFORMS, scope="toy")
    other = Registry("other", parent=TRANSFORMS, scope="other")

    @toy_registry.register_module(name="Shrink")
    def shrink(size): ...

    @other.register_module(name="Shrink")
    def shrink_otherwise(scale): ...

    sections = {"sections": {"train_pipeline": None}, "model_sections": {}}
    check_keys({"tree": "toy", "train_pipeline": [{"type": "Shrink", "size": 3}]}, **sections)
    check_keys({"tree": "other", "train_pipeline": [{"type": "Shrink", "scale": 3}]}, **sections)
    with pytest.raises(UnknownKey):
        check_keys({"tree": "toy", "train_pipeline": [{"type": "Shrink", "scale": 3}]}, **sections)
