"""Losses, distances, reducers, regularisers, miners and samplers of pytorch-metric-learning from a YAML file.

    loss:
      type: pml.MultiSimilarityLoss
      alpha: 2
      distance: {type: CosineSimilarity}
    miner: {type: pml.MultiSimilarityMiner, epsilon: 0.1}

A section within another leaves `pml.` away; what kind of part it is follows from its key. Losses and regularisers are those
of the installed package and ours of `classification.pml`.
"""

import importlib
import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from repmet.errors import UserError, did_you_mean
from repmet.experiments.config.signatures import accepted_arguments
from repmet.experiments.config.strictness import UnknownKey

PREFIX = "pml."
# The kind of part that a key holds: a module of the package.
KINDS = {
    "loss": "losses",
    "losses": "losses",
    "distance": "distances",
    "reducer": "reducers",
    "reducers": "reducers",
    "default_reducer": "reducers",
    "embedding_regularizer": "regularizers",
    "weight_regularizer": "regularizers",
    "miner": "miners",
    "miners": "miners",
    "sampler": "samplers",
    "batch_sampler": "samplers",
}
OWN = ("losses", "regularizers")  # kinds that `classification.pml` has some of
SIZES = ("num_classes", "embedding_size", "descriptors_dim", "labels")  # follow from the training set and the embedding
_NO_PARTS = ("Mixin",)  # what classes of the package are built of


def parts(kind: str) -> dict[str, type]:
    """The classes of one kind by name, abstract ones left out.

    Raises:
        ModuleNotFoundError: the package is not installed.
    """
    modules = [importlib.import_module(f"pytorch_metric_learning.{kind}")]
    if kind in OWN:
        modules.append(importlib.import_module(f"repmet.classification.pml.{kind}"))
    by_name = {name: value for module in modules for name, value in vars(module).items() if inspect.isclass(value)}
    return {
        name: value
        for name, value in by_name.items()
        if value.__module__.startswith(("pytorch_metric_learning", "repmet.classification.pml"))
        and not name.startswith(("Base", "_"))
        and not name.endswith(_NO_PARTS)
    }


def check(section: Mapping[str, Any], where: tuple[str, ...], key: str | None = None) -> None:
    """Raises `UnknownKey` for the first name or argument, at any depth, that the package does not know.

    Args:
        section: with a `type`. where: the keys that lead to it.
        key: which of these says what kind of part it is; None: the last that is one of `KINDS`.
    """
    key = key or next((part for part in reversed(where) if part in KINDS), None)
    if key is None:
        raise UnknownKey((*where, "type"), [f"{PREFIX}{name}" for name in KINDS], value=str(section["type"]))
    known = parts(KINDS[key])
    name = str(section["type"]).removeprefix(PREFIX)
    if name not in known:
        raise UnknownKey((*where, "type"), known, value=name, reader=f"pytorch-metric-learning's {KINDS[key]}")
    arguments, anything = accepted_arguments(known[name])
    for argument, value in section.items():
        if argument not in {*arguments, "type"} and not anything:
            raise UnknownKey((*where, str(argument)), {*arguments, "type"}, reader=name)
        _check_within(value, (*where, str(argument)), argument if argument in KINDS else key)


def _check_within(value: Any, where: tuple[str, ...], key: str) -> None:
    if isinstance(value, Mapping) and "type" in value:
        check(value, where, key)
    elif isinstance(value, Mapping):
        for name, item in value.items():
            _check_within(item, (*where, str(name)), key)
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            _check_within(item, (*where, str(i)), key)


def build(section: Mapping[str, Any], key: str, sizes: Mapping[str, Any] | None = None) -> Any:
    """The part that a section describes.

    Args:
        section: {type: its name, with or without `pml.`, and its arguments}; sections within it become parts too.
        key: the key that holds it, such as "loss": it says of which kind it is.
        sizes: values of `SIZES` that are filled in, at any depth, where they are asked for and not given.

    Raises:
        ValueError: no such part (with the nearest), an argument that it does not take, or a value that it refuses.
    """
    sizes = dict(sizes or {})
    kind = KINDS[key]
    known = parts(kind)
    name = str(section.get("type", "")).removeprefix(PREFIX)
    if name not in known:
        raise UserError(f"pytorch-metric-learning has no {name!r} among its {kind}; {did_you_mean(name, known)}")
    accepted, anything = accepted_arguments(known[name])
    arguments = {argument: _built(value, argument, key, sizes) for argument, value in section.items() if argument != "type"}
    for argument in arguments:
        if argument not in accepted and not anything:
            near = did_you_mean(argument, accepted)
            raise UserError(f"{name} of pytorch-metric-learning's {kind} has no {argument!r}; {near}")
    if kind == "reducers" and isinstance(arguments.get("weights"), list | tuple):
        arguments["weights"] = torch.tensor(arguments["weights"])  # of ClassWeightedReducer, which indexes it
    arguments = {name: value for name, value in sizes.items() if name in accepted and value is not None} | arguments
    try:
        return known[name](**arguments)
    except (TypeError, AssertionError) as error:
        raise UserError(f"{name} of pytorch-metric-learning's {kind}: {error}") from None


def _built(value: Any, argument: str, key: str, sizes: Mapping[str, Any]) -> Any:
    """An argument, with the sections in it built; within lists and mappings the outer key counts."""
    kind_key = argument if argument in KINDS else key
    if isinstance(value, Mapping):
        if "type" in value:
            return build(value, kind_key, sizes)
        return {name: _built(item, kind_key, kind_key, sizes) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_built(item, kind_key, kind_key, sizes) for item in value]
    return value


def release_graph(criterion: nn.Module) -> None:
    """Detaches what a loss keeps of its last batch outside of its buffers, as DynamicSoftMarginLoss does its histogram: a
    second backward pass would go through the first one's graph."""
    for module in criterion.modules():
        for name, value in vars(module).items():
            if isinstance(value, Tensor) and value.grad_fn is not None:
                setattr(module, name, value.detach())
