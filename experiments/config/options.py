"""`--cfg-options`: changes of an experiment as they are typed, KEY=VALUE with dots in the key and YAML in the value."""

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from repmet.errors import UserError, one_line
from repmet.experiments.config.dialect import ExperimentLoader


def parse_options(options: Mapping[str, Any] | Iterable[str] | None) -> dict[str, Any]:
    """`["a.b=1e-3", "c=null"]` as {"a.b": 0.001, "c": None}; values are YAML."""
    if options is None or isinstance(options, Mapping):
        return dict(options or {})
    parsed = {}
    for option in options:
        key, equals, value = option.partition("=")
        if not equals or not key:
            raise UserError(f"--cfg-options {option}: write KEY=VALUE, for instance train_cfg.max_epochs=12")
        if value == "None":
            raise UserError(f"--cfg-options {option}: write {key}=null; values are YAML")
        try:
            parsed[key] = yaml.load(value, Loader=ExperimentLoader)
        except yaml.YAMLError as error:
            raise UserError(f"--cfg-options {option}: the value is no YAML ({one_line(error)})") from None
    return parsed


def set_option(values: dict, key: str, value: Any) -> None:
    *parents, last = key.split(".")
    node: Any = values
    for depth, part in enumerate(parents):
        if isinstance(node, list | tuple):
            node = node[_index(node, part, key)]
            continue
        if not isinstance(node.get(part), dict | list | tuple):
            if node.get(part) is not None:
                raise UserError(f"--cfg-options {key}: {'.'.join(parents[: depth + 1])} is a value, not a section")
            node[part] = {}
        elif isinstance(node[part], tuple):
            node[part] = list(node[part])
        node = node[part]
    if isinstance(node, list):
        node[_index(node, last, key)] = value
    elif isinstance(node, dict):
        node[last] = value
    else:
        raise UserError(f"--cfg-options {key}: {'.'.join(parents)} is a value, not a section")


def _index(node: list | tuple, part: str, key: str) -> int:
    if not part.isdigit() or int(part) >= len(node):
        raise UserError(f"--cfg-options {key}: {part!r} is no index of a list of {len(node)}")
    return int(part)
