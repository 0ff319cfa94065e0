"""An experiment's YAML file, with everything that it inherits, as one checked configuration."""

import importlib
import importlib.util
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml
from mmengine.config import Config
from mmengine.hub import get_config

import repmet.experiments.running.distributed_hook
import repmet.experiments.running.hooks
import repmet.experiments.running.mixed_precision
import repmet.experiments.running.representatives_hook
import repmet.experiments.running.tensorboard
import repmet.experiments.running.training_record  # noqa: F401  (these six register what experiments name)
from repmet.data.files.text import read_text
from repmet.errors import UserError, one_line
from repmet.experiments.config.dialect import ExperimentDumper, ExperimentLoader
from repmet.experiments.config.merging import merge, without_marks
from repmet.experiments.config.options import parse_options, set_option
from repmet.experiments.config.sections import RUNNER_KEYS, place_data
from repmet.experiments.config.strictness import Source, UnknownKey, check_keys
from repmet.experiments.config.suites import (
    SUFFIXES,
    experiment_of_suite,
    find_experiment,
    is_suite,
    nearest_address,
    split_address,
)

TREES = ("classification", "detection")
_ENVIRONMENT = re.compile(r"\{\{['\"]?\s*\$(\w+)\s*:\s*(.*?)\s*['\"]?\}\}")


def load_experiment(
    path: str | Path,
    options: Mapping[str, Any] | Iterable[str] | None = None,
    flags: Mapping[str, Any] | None = None,
) -> Config:
    """Reads an experiment with all that it inherits, and refuses what nobody would read.

    The file is YAML. `_base_` names one or several files to inherit from, relative to it, or an installed package's own
    (`mmdet::_base_/models/faster-rcnn_r50_fpn.py`); a mapping that holds `_delete_: true` replaces the inherited one.
    `{{$NAME:default}}` is the environment variable NAME. The tree that `tree` names is imported, so that its modules are
    known.

    Args:
        path: the YAML file, or SUITE.yaml:NAME for one of a suite (`repmet.experiments.config.suites`).
        options: changes, as {"model.backbone.depth": 18} or ["model.backbone.depth=18"] with values in YAML.
        flags: further changes by what a command's own flags hold, as {"data.root": "photos #1"}: values, which nothing
            parses. None: not given.

    Returns:
        The configuration, not yet prepared by its tree.

    Raises:
        FileNotFoundError: the file, or one that it inherits, is not there.
        ValueError: malformed YAML, or a key or `type` that nothing knows (the message names file, key and nearest one).
    """
    path = find_experiment(path)
    sources: list[Source] = []
    values = _read(path, sources, (), {})
    set_flags = {key: value for key, value in (flags or {}).items() if value is not None}
    if isinstance(values.get("data"), list) and any(key.startswith("data.") for key in set_flags):
        raise UserError(
            f"{path}: trains on {len(values['data'])} sets of images, so that no one folder or class can be put in their "
            "place; change them by --cfg-options, as data.0.root=FOLDER"
        )
    for key, value in [*parse_options(options).items(), *set_flags.items()]:
        set_option(values, key, value)
        sources.insert(0, Source("--cfg-options", {}, key))
    values = without_marks(values)
    place_data(values.get("data"))
    check_experiment(values, path, sources)
    text = read_text(split_address(path)[0])
    return Config(values, cfg_text=text, filename=str(path), format_python_code=False)


def tree_of(path: str | Path) -> str:
    """The tree that an experiment names, itself or by what it inherits.

    Raises:
        FileNotFoundError, ValueError: the file, or one that it inherits, is not there or is malformed; it names no tree.
    """
    path = find_experiment(path)
    tree = _read(path, [], (), {}).get("tree")
    if tree not in TREES:
        raise UserError(f"{path}: top-level key `tree` must name the tree to run, `detection` or `classification`")
    return str(tree)


def check_experiment(values: Mapping[str, Any], path: Path, sources: list[Source] | None = None) -> None:
    """Raises ValueError, naming `path` or the nearest of `sources`, where an experiment says what nothing would read."""
    tree = import_tree(values.get("tree"), path)
    try:
        libraries = getattr(tree, "LIBRARIES", None)
        check_keys(values, sections=tree.SECTIONS, model_sections=tree.MODEL_SECTIONS, libraries=libraries)
    except UnknownKey as error:
        raise UserError(error.message(sources or [Source(str(path), values)])) from None


def parse_experiment(text: str, name: str) -> Config:
    """The configuration in a resolved YAML text (as a checkpoint embeds it); imports nothing, `build_runner` checks it."""
    values = _parse(text, name)
    return Config(values, cfg_text=text, filename=None, format_python_code=False)


def experiment_text(cfg: Config) -> str:
    """A configuration as YAML that `parse_experiment` reads back unchanged."""
    return yaml.dump(_plain(cfg.to_dict()), Dumper=ExperimentDumper, sort_keys=False, allow_unicode=True, width=120)


def check_tree(cfg: Config, path: str | Path, tree: str, command: str) -> None:
    """Raises ValueError where an experiment is of another tree than the one whose command is run."""
    if cfg.tree != tree:
        raise UserError(f"{path}: an experiment of the {cfg.tree} tree; run python -m {cfg.tree}.{command}")


def import_tree(tree: Any, path: Path) -> ModuleType:
    """A tree's module `experiment`, whose import fills mmengine's registries. Other names are packages."""
    if not isinstance(tree, str) or not all(part.isidentifier() for part in tree.split(".")):
        raise UserError(f"{path}: top-level key `tree` must name the tree to run, `detection` or `classification`")
    module = f"repmet.{tree}.experiment" if tree in TREES else f"{tree}.experiment"
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name in (module, module.rpartition(".")[0]):
            raise UserError(f"{path}: there is no tree {tree!r}; `tree` is `detection` or `classification`") from None
        raise UserError(
            f"{path}: tree {tree!r} needs the package {error.name!r}; `python -m experiments.doctor` says what to install"
        ) from error


def _read(path: Path, sources: list[Source], chain: tuple[Path, ...], parsed: dict[Path, dict]) -> dict:
    """One experiment merged over its bases; `sources` collects the files, nearest first, `parsed` their content."""
    file, name = split_address(path)
    if not file.is_file():
        wanted_by = f" (named as _base_ by {chain[-1]})" if chain else nearest_address(path)
        raise FileNotFoundError(f"{file}: no such experiment file{wanted_by}")
    if file.suffix not in SUFFIXES:
        raise UserError(f"{file}: an experiment is a .yaml file")
    if path.resolve() in [p.resolve() for p in chain]:
        raise UserError(f"{path}: _base_ leads back to {'this file' if name is None else 'it'}")
    if file not in parsed:
        parsed[file] = _parse(read_text(file), str(file))
    values = dict(parsed[file])
    if is_suite(values):
        values = experiment_of_suite(values, file, name, parts_too=bool(chain))
    elif name is not None:
        raise UserError(f"{path}: {file.name} is one experiment and no suite; leave out :{name}")
    sources.append(Source(str(path), values))
    bases = values.pop("_base_", None) or []
    merged: dict = {}
    for base in bases if isinstance(bases, list) else [bases]:
        if not isinstance(base, str):
            raise UserError(f"{path}: _base_ is a file name or a list of them, got {base!r}")
        if "::" in base:
            inherited = _read_package(base, path, sources)
        else:
            inherited = _read(path.parent / base, sources, (*chain, path), parsed)
        merged = merge(inherited, merged)
    return merge(values, merged)


def _read_package(base: str, path: Path, sources: list[Source]) -> dict:
    """A configuration that an installed package brings, without the variables that only its own file reads."""
    package, _, name = base.partition("::")
    if ".." in name or not package.isidentifier():
        raise UserError(f"{path}: _base_ {base} may not leave its package")
    if importlib.util.find_spec(package) is None:  # mmengine would go and install it
        raise UserError(
            f"{path}: _base_ {base} needs the package {package}, which is not installed; "
            "`python -m experiments.doctor` says what to install"
        )
    try:
        values = get_config(base).to_dict()
    except (ValueError, AssertionError) as error:
        raise UserError(f"{path}: _base_ {base} names no package that brings configurations: {one_line(error)}") from None
    except OSError as error:
        raise FileNotFoundError(f"{path}: _base_ {base} is not there ({one_line(error)})") from None
    values = {key: value for key, value in values.items() if key in RUNNER_KEYS or key.endswith("_pipeline")}
    sources.append(Source(base, values))
    return values


def _parse(text: str, name: str) -> dict:
    def environment(match: re.Match) -> str:
        value = os.environ.get(match[1], match[2])
        if not value:
            raise UserError(f"{name}: set the environment variable {match[1]}; it has no default in the file")
        return value

    def quoted(match: re.Match) -> str:
        """The value as YAML has it between the quotation marks that it stands in, or as it is where there are none."""
        value, before = environment(match), match.string[: match.start()]
        if before.count("'") % 2:
            return value.replace("'", "''")
        return value.replace("\\", r"\\").replace('"', r"\"") if before.count('"') % 2 else value

    lines = [line if line.lstrip().startswith("#") else _ENVIRONMENT.sub(quoted, line) for line in text.split("\n")]
    try:
        values = yaml.load("\n".join(lines), Loader=ExperimentLoader)
    except yaml.YAMLError as error:
        raise UserError(f"{name}: malformed YAML: {one_line(error)}") from None
    if not isinstance(values, dict):
        raise UserError(f"{name}: an experiment is a mapping of sections, got {type(values).__name__}")
    return values


def _plain(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {str(key): _plain(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return type(node)(_plain(value) for value in node)
    return str(node) if isinstance(node, Path) else node
