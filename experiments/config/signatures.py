"""Which keyword arguments a registered class or function takes."""

import inspect
import re
from collections.abc import Callable, Iterable
from functools import lru_cache

from torch import nn


def accepted_arguments(target: Callable) -> tuple[set[str], bool]:
    """The keyword arguments that a registered class or function takes, and whether it takes any others.

    A class whose `__init__` hands `**kwargs` to `super().__init__` takes the next one's arguments as well.
    """
    if not inspect.isclass(target):
        parameters = list(inspect.signature(target).parameters.values())
        return _names(parameters), any(p.kind is p.VAR_KEYWORD for p in parameters)
    names: set[str] = set()
    for cls in target.__mro__:
        if cls in (object, nn.Module):
            break
        init = cls.__dict__.get("__init__")
        if init is None:
            continue
        parameters = list(inspect.signature(init).parameters.values())[1:]
        names |= _names(parameters)
        rest = next((p.name for p in parameters if p.kind is p.VAR_KEYWORD), None)
        if rest is None:
            return names, False
        if not _hands_on(init, rest):
            return names, True
    return names, False


def _names(parameters: Iterable[inspect.Parameter]) -> set[str]:
    return {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}


@lru_cache(maxsize=1024)
def _hands_on(init: Callable, rest: str) -> bool:
    try:
        source = inspect.getsource(init)
    except (OSError, TypeError):
        return False
    handed_on = rf"\.__init__\((?:[^()]|\([^()]*\))*\*\*{rest}"
    return re.search(handed_on, source) is not None
