"""Suites: many experiments in one file, each put together from named parts, and how one of them is addressed.

    parts:
      flowers17: {_base_: _base_/images.yaml, data: {source: image_folder, root: data/flowers17}}
      softmax: {_base_: _base_/softmax.yaml}
    experiments:
      flowers17_softmax: {with: [flowers17, softmax], train_cfg: {max_epochs: 30}}

`SUITE.yaml:flowers17_softmax` stands wherever the file of an experiment may stand, `_base_` included; there a part may be
named too. Later parts stand over earlier ones, all of them over `_base_`, and what the experiment itself says over all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from repmet.data.files.text import read_text
from repmet.errors import UserError, did_you_mean, nearest
from repmet.experiments.config.dialect import ExperimentLoader

SECTIONS = ("parts", "experiments")
SUFFIXES = (".yaml", ".yml")
SHIPPED = Path(__file__).parents[1]  # `experiments` itself


def split_address(address: str | Path) -> tuple[Path, str | None]:
    """The file, and the name of the experiment in it where the address has one."""
    file, colon, name = str(address).rpartition(":")
    return (Path(file), name) if colon and file.endswith(SUFFIXES) else (Path(address), None)


def experiment_name(address: str | Path) -> str:
    """What an experiment is called: its name in the suite, else its file's."""
    file, name = split_address(address)
    return name or file.stem


def is_suite(values: Mapping[str, Any]) -> bool:
    """Whether a file's content is a suite."""
    return "experiments" in values


def experiments_below(folder: Path) -> list[str]:
    """The addresses of all experiments in a folder and those below; files in `_base_` are none."""
    files = sorted(path for path in folder.rglob("*.yaml") if "_base_" not in path.relative_to(folder).parts)
    return [address for file in files for address in experiments_in(file)]


def experiments_in(file: Path) -> list[str]:
    """The addresses of what a file holds: itself, or those of a suite."""
    values = yaml.load(read_text(file), Loader=ExperimentLoader)
    return [f"{file}:{name}" for name in values["experiments"]] if is_suite(values) else [str(file)]


def experiment_of_suite(suite: Mapping[str, Any], file: Path, name: str | None, *, parts_too: bool) -> dict[str, Any]:
    """One experiment of a suite, its parts as entries of `_base_`.

    Args:
        suite: the file's content. name: of the experiment. parts_too: whether it may be a part, as in `_base_`.

    Raises:
        ValueError: the suite is malformed, or has no such experiment or part (the message names the nearest one).
    """
    for key in suite.keys() - set(SECTIONS):
        raise UserError(f"{file}: a suite holds parts and experiments, not {key}{_near(key, SECTIONS)}")
    parts, experiments = (_named(suite, section, file) for section in SECTIONS)
    if both := parts.keys() & experiments.keys():
        raise UserError(f"{file}: {', '.join(sorted(both))}: a part and an experiment of one name")
    if name is None:
        raise UserError(f"{file}: a suite; name one of its experiments, as {file}:{next(iter(experiments), 'NAME')}")
    known = parts | experiments if parts_too else experiments
    if name not in known:
        what = f"{name} is a part, not an experiment" if name in parts else f"no experiment {name}"
        raise UserError(f"{file}: {what}{_near(name, known)}")
    chosen = dict(known[name])
    used = chosen.pop("with", [])
    if not isinstance(used, list) or not all(isinstance(part, str) for part in used):
        raise UserError(f"{file}:{name}: `with` is a list of parts, got {used!r}")
    for part in used:
        if part not in parts:
            raise UserError(f"{file}:{name}: no part {part}{_near(part, parts)}")
    bases = chosen.pop("_base_", None) or []
    bases = bases if isinstance(bases, list) else [bases]
    return {"_base_": [*bases, *(f"{file.name}:{part}" for part in used)], **chosen}


def find_experiment(address: str | Path) -> Path:
    """An address as it is named; a file that is not there is looked for among those that ship (`experiments/...`)."""
    path = Path(address)
    if not split_address(path)[0].exists() and path.parts[:1] == (SHIPPED.name,):
        shipped = SHIPPED.joinpath(*path.parts[1:])
        return shipped if split_address(shipped)[0].is_file() else path
    return path


def nearest_address(address: str | Path) -> str:
    """`; did you mean ADDRESS?` for an experiment that is not there, looked for by name in the folders around; or nothing.

    Experiments move between folders and into suites, and their names stay.
    """
    file, _ = split_address(address)
    folder = next((parent for parent in file.parents if parent.name == SHIPPED.name), None)
    if folder is None:
        return ""
    folder = folder if folder.is_dir() else SHIPPED
    by_name: dict[str, list[str]] = {}
    for known in experiments_below(folder):
        by_name.setdefault(experiment_name(known), []).append(known)
    near = nearest(experiment_name(address), by_name, cutoff=0.75)
    return "" if near is None else f"; did you mean {' or '.join(by_name[near])}?"


def _named(suite: Mapping[str, Any], section: str, file: Path) -> dict[str, Mapping[str, Any]]:
    entries = suite.get(section) or {}
    if not isinstance(entries, Mapping):
        raise UserError(f"{file}: {section} is a mapping of names, got {type(entries).__name__}")
    for name, values in entries.items():
        if not isinstance(values, Mapping):
            raise UserError(f"{file}:{name}: an experiment is a mapping of sections, got {type(values).__name__}")
    return dict(entries)


def _near(wrong: str, known: Iterable[str]) -> str:
    return f"; {did_you_mean(wrong, known)}"
