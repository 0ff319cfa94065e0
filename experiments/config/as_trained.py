"""What a network sees and is: as its checkpoint was trained, whatever the experiment says that it is measured by."""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from mmengine.config import Config
from mmengine.dist import is_main_process

from repmet.errors import UserError
from repmet.experiments.config.options import parse_options

_STARTS = ("weights", "init_cfg", "fresh", "pretrained")  # of a training, whose weights the checkpoint brings now
_SHOWN = 3  # keys in one line


def take_over(
    cfg: Config, trained: Config, keys: Sequence[str], *, kept: Sequence[str] = (), options: Iterable[str] = (), name: str
) -> None:
    """Puts what a checkpoint was trained with in the place of what an experiment says, and says where the two differ.

    A network that is shown other sizes, other pixels or another model around its weights than in training measures nothing.
    Data, lists, batches, episodes and rules of scoring are the experiment's.

    Args:
        cfg: the experiment that is run; changed in place.
        trained: the one that the checkpoint embeds. keys: of it, with dots; what it does not say stays.
        kept: parts of these that stay the experiment's.
        options: `--cfg-options` as typed; one that wants something else than the checkpoint is refused.
        name: the checkpoint's.

    Raises:
        ValueError: such an option; the message names the key and both values.
    """
    keys = [key for key in keys if _at(trained, key) is not None]
    differing = [d for key in keys for d in _differences(key, _at(cfg, key), _at(trained, key)) if not _within(d[0], kept)]
    typed = parse_options(list(options))
    for key, here, there in differing:
        if any(_within(key, [option]) or _within(option, [key]) for option in typed):
            raise UserError(
                f"--cfg-options {key}={_short(here)}: {name} was trained with {_short(there)} and is measured as it was "
                "trained; leave the option out"
            )
    unchanged = {key: _at(cfg, key) for key in kept}
    for key, value in [*((key, _at(trained, key)) for key in keys), *unchanged.items()]:
        section, _, last = key.rpartition(".")
        holder = _at(cfg, section) if section else cfg
        if holder is not None and (value is not None or last in holder):
            holder[last] = value
    if differing and is_main_process():
        said = ", ".join(f"{key} {_short(there)} (here {_short(here)})" for key, here, there in differing[:_SHOWN])
        more = f" and {len(differing) - _SHOWN} more" if len(differing) > _SHOWN else ""
        print(f"{name}: measured as it was trained, with {said}{more}", file=sys.stderr, flush=True)


def _at(cfg: Any, key: str) -> Any:
    for part in key.split("."):
        cfg = cfg.get(part) if isinstance(cfg, Mapping | Config) else None
    return cfg


def _differences(key: str, here: Any, there: Any) -> Iterator[tuple[str, Any, Any]]:
    """(key, here, there) of the smallest parts that differ; a key that is missing is null."""
    if isinstance(here, Mapping) and isinstance(there, Mapping):
        for part in dict.fromkeys([*there, *here]):
            if part not in _STARTS:
                yield from _differences(f"{key}.{part}", here.get(part), there.get(part))
    elif isinstance(here, list | tuple) and isinstance(there, list | tuple):
        if len(here) == len(there) and all(isinstance(part, Mapping) for part in [*here, *there]):
            for number, (a, b) in enumerate(zip(here, there, strict=True)):
                yield from _differences(f"{key}.{number}", a, b)
        elif list(here) != list(there):
            yield key, here, there
    elif here != there:
        yield key, here, there


def _within(key: str, others: Iterable[str]) -> bool:
    """Whether a key is one of others, or below one."""
    return any(f"{key}.".startswith(f"{other}.") for other in others)


def _short(value: Any) -> str:
    text = "null" if value is None else str(value)
    return text if len(text) <= 60 else text[:57] + "..."
