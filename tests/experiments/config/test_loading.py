"""Reading experiments: inheritance, substitution, options, and one message for each thing that is wrong."""

import os
import re

import pytest

from repmet.experiments.config.loading import experiment_text, load_experiment, parse_experiment
from repmet.experiments.config.options import parse_options


def test_inherits_and_overrides(write_yaml):
    cfg = load_experiment(write_yaml("train_cfg: {max_epochs: 9}\noptim_wrapper:\n  optimizer: {lr: 1e-4}\n"))
    assert cfg.train_cfg == {"by_epoch": True, "max_epochs": 9}
    assert cfg.optim_wrapper.optimizer == {"type": "SGD", "lr": 1e-4, "momentum": 0.9}
    assert cfg.default_hooks.checkpoint.max_keep_ckpts == 2  # from the base's base


def test_delete_replaces_the_inherited_section(write_yaml):
    cfg = load_experiment(write_yaml("optim_wrapper:\n  optimizer: {_delete_: true, type: AdamW, lr: 1e-3}\n"))
    assert cfg.optim_wrapper.optimizer == {"type": "AdamW", "lr": 1e-3}


def test_later_of_several_bases_wins(write_yaml, toy_yaml, tmp_path):
    write_yaml("data: {size: 99}\n", name="second.yaml", base=False)
    relative = os.path.relpath(toy_yaml, tmp_path)
    path = write_yaml(f"_base_: [{relative}, second.yaml]\n", base=False)
    assert load_experiment(path).data == {"size": 99, "classes": ["a", "b", "c"]}


def test_environment_variables(write_yaml, monkeypatch):
    path = write_yaml("# {{$UNSET_IN_A_COMMENT:}}\ndata: {size: '{{$TOY_SIZE:7}}', classes: ['{{$TOY_CLASS:x}}s']}\n")
    assert load_experiment(path).data == {"size": "7", "classes": ["xs"]}
    path = write_yaml("data: {size: {{$TOY_SIZE:7}}}\n")
    assert load_experiment(path).data["size"] == 7
    monkeypatch.setenv("TOY_SIZE", "31")
    assert load_experiment(path).data["size"] == 31
    with pytest.raises(ValueError, match=r"own\.yaml: set the environment variable TOY_NONE"):
        load_experiment(write_yaml("data: {size: {{$TOY_NONE:}}}\n"))


def test_options_are_yaml_and_reach_into_lists(toy_yaml):
    options = ["param_scheduler.1.gamma=1e-1", "data.classes=[u, v]", "model.init_cfg=null"]
    cfg = load_experiment(toy_yaml, options)
    assert cfg.param_scheduler[1].gamma == 0.1
    assert cfg.data.classes == ["u", "v"]
    assert cfg.model.init_cfg is None
    assert load_experiment(toy_yaml, {"data.size": 3}).data["size"] == 3


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("data.size", "write KEY=VALUE"),
        ("data.size=None", "write data.size=null"),
        ("data.size=[1", "the value is no YAML"),
        ("data.size.x=1", "data.size is a value, not a section"),
        ("param_scheduler.7.gamma=1", "'7' is no index of a list of 2"),
    ],
)
def test_bad_options(toy_yaml, option, message):
    with pytest.raises(ValueError, match=f"^--cfg-options .*{re.escape(message)}"):
        load_experiment(toy_yaml, [option])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train_cfg: {max_epochs: 3\n", r"own\.yaml: malformed YAML"),
        ("data: {size: 3, size: 4}\n", r"own\.yaml: malformed YAML: .*'size' is given twice"),
        ("data: !!python/object/apply:os.getcwd []\n", r"own\.yaml: malformed YAML: .*python/object/apply"),
        ("- a\n", r"own\.yaml: an experiment is a mapping"),
        ("_base_: 3\n", r"own\.yaml: _base_ is a file name"),
        ("_base_: own.yaml\n", r"own\.yaml: _base_ leads back"),
        ("_base_: base.py\n", r"base\.py: an experiment is a \.yaml file"),
        ("_base_: mmengine::../../evil.py\n", "may not leave its package"),
        ("_base_: torch::_base_/a.py\n", "names no package that brings configurations"),
        ("_base_: no_such_package::a.py\n", "needs the package no_such_package"),
        ("data: {}\n", "top-level key `tree` must name"),
        ("tree: os;x\n", "top-level key `tree` must name"),
        ("tree: no_such_tree\n", "there is no tree 'no_such_tree'"),
    ],
)
def test_bad_files(write_yaml, tmp_path, text, message):
    (tmp_path / "base.py").write_text("raise SystemExit('executed')\n")
    with pytest.raises(ValueError, match=message):
        load_experiment(write_yaml(text, base=False))


def test_missing_files(write_yaml, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.yaml: no such experiment file$"):
        load_experiment(tmp_path / "none.yaml")
    with pytest.raises(FileNotFoundError, match=r"gone\.yaml: no such experiment file \(named as _base_ by .*own\.yaml\)"):
        load_experiment(write_yaml("_base_: gone.yaml\n", base=False))
    pytest.importorskip("mmdet", exc_type=ImportError)
    with pytest.raises(FileNotFoundError, match=r"own\.yaml: _base_ mmdet::_base_/none\.py is not there"):
        load_experiment(write_yaml("_base_: mmdet::_base_/none.py\n", base=False))


def test_missing_package(write_yaml, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        ValueError, match=r"own\.yaml: _base_ mmdet::x/a\.py needs the package mmdet, which is not installed"
    ):
        load_experiment(write_yaml("_base_: mmdet::x/a.py\n", base=False))


def test_resolved_text_reads_back_unchanged(toy_yaml):
    cfg = load_experiment(toy_yaml, {"data.classes": ("a", "b"), "data.size": 1e-5})
    again = parse_experiment(experiment_text(cfg), "text")
    assert again.to_dict() == cfg.to_dict()
    assert isinstance(again.data.classes, tuple)


def test_parse_options():
    assert parse_options(["a.b=1e-3", "c=null", "d=[1, x]", "e=a=b"]) == {"a.b": 1e-3, "c": None, "d": [1, "x"], "e": "a=b"}
