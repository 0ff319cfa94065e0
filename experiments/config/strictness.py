"""Refuses every key and `type` of an experiment that no constructor, loop or tree would read.

mmengine passes over unknown top-level keys and unknown keys of `model.train_cfg` in silence, so a typo trains the default.
"""

import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import mmengine.registry as registries
from mmengine.optim import OptimWrapper
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, LogProcessor, TestLoop, ValLoop

from repmet.errors import nearest
from repmet.experiments.config.sections import (
    BY_KEY,
    BY_SECTION,
    DATALOADER,
    EVERYWHERE,
    FILES,
    LAUNCHER_KEYS,
    PLAIN_KEYS,
    PLAIN_SECTIONS,
    RUNNER_KEYS,
    TAKEN_BY_BUILDER,
    TRAIN_LOOP,
)
from repmet.experiments.config.signatures import accepted_arguments


@dataclass
class Source:
    """A file (or the command line) that an experiment's values came from."""

    name: str
    values: Mapping
    option: str | None = None

    def holds(self, where: tuple[str, ...]) -> bool:
        if self.option is not None:
            dotted = ".".join(where)
            return (
                self.option == dotted or f"{self.option}.".startswith(f"{dotted}.") or dotted.startswith(f"{self.option}.")
            )
        node: Any = self.values
        for key in where:
            if isinstance(node, list | tuple) and key.isdigit() and int(key) < len(node):
                node = node[int(key)]
            elif isinstance(node, Mapping) and key in node:
                node = node[key]
            else:
                return False
        return True


@dataclass
class UnknownKey(Exception):
    """A key, or the value of a `type`, that nothing reads."""

    where: tuple[str, ...]
    known: Collection[str]
    value: str | None = None
    reader: str = ""
    sources: list[Source] = field(default_factory=list)

    def message(self, sources: Iterable[Source]) -> str:
        """One line: the file that says it, the full key, the nearest known one."""
        sources = list(sources)
        name = next((source.name for source in sources if source.holds(self.where)), sources[-1].name)
        if name == "--cfg-options":
            name = f"{name} (over {next(s.name for s in sources if s.option is None)})"
        dotted = ".".join(self.where)
        wrong = self.where[-1] if self.value is None else self.value
        known = sorted(self.known)
        near = _near(wrong, known)
        what = f"unknown key {dotted}" if self.value is None else f"unknown {dotted} {self.value!r}"
        if near:
            hint = f"; did you mean {near!r}?"
        elif self.value is None:
            hint = f"; known keys: {', '.join(known[:20])}" + (", ..." if len(known) > 20 else "")
        else:
            hint = "; no registered name is like it"
        return f"{name}: {what}{f' of {self.reader}' if self.reader else ''}{hint}"


def _near(wrong: str, known: Iterable[str]) -> str | None:
    """The known name most like a wrong one, judged by its last part; None if none is."""
    by_last = {name.rsplit(".", 1)[-1]: name for name in sorted(known)}
    near = nearest(wrong, by_last)
    return None if near is None else by_last[near]


def check_keys(
    values: Mapping,
    *,
    sections: Mapping[str, Any],
    model_sections: Mapping[str, Any],
    libraries: Mapping[str, Callable[[Mapping, tuple[str, ...]], None]] | None = None,
) -> None:
    """Raises `UnknownKey` for the first key or type of an experiment that nothing would read.

    Args:
        values: the merged experiment.
        sections: the top-level sections that the tree adds, each with its allowed keys, nested; None allows any value.
        model_sections: the same below `model` for `train_cfg` and `test_cfg`.
        libraries: by what stands before the dot of a `type`, who checks a section of that library (and the keys to it), and
            all within it.
    """
    scope = values.get("default_scope")
    walk = _Walk(scope if isinstance(scope, str) else None, model_sections, str(values.get("tree")), libraries or {})
    known = RUNNER_KEYS | LAUNCHER_KEYS | set(sections)
    for key, value in values.items():
        where = (str(key),)
        if key not in known:
            in_loop = {f"train_cfg.{name}" for name in TRAIN_LOOP} if not _near(key, known) else set()
            raise UnknownKey(where, known | in_loop)
        if key in sections:
            looked_up = ("TRANSFORMS",) if key.endswith("_pipeline") else EVERYWHERE
            walk.plain(value, where, sections[key], looked_up)
        elif key in PLAIN_SECTIONS:
            walk.plain(value, where, PLAIN_SECTIONS[key], BY_SECTION.get(key, EVERYWHERE))
        elif key.endswith("_dataloader") and isinstance(value, Mapping):
            walk.plain(value, where, dict.fromkeys(DATALOADER), BY_SECTION[key])
        else:
            walk.node(value, where, BY_SECTION.get(key, EVERYWHERE))


class _Walk:
    """Goes through an experiment; keeps where it is and which registries the types there come from."""

    def __init__(
        self, scope: str | None, model_sections: Mapping[str, Any], tree: str, libraries: Mapping[str, Callable]
    ) -> None:
        self.libraries = libraries
        self.scope = scope
        self.tree = tree
        self.model_sections = model_sections

    def node(self, value: Any, where: tuple[str, ...], looked_up: tuple[str, ...]) -> None:
        key = next((part for part in reversed(where) if not part.isdigit()), "")
        if key in BY_KEY:
            looked_up = BY_KEY[key]
        elif key.endswith("pipeline"):
            looked_up = ("TRANSFORMS",)
        if isinstance(value, list | tuple):
            for i, item in enumerate(value):
                self.node(item, (*where, str(i)), looked_up)
        elif isinstance(value, Mapping):
            if where[0] == "model" and where[1:] in (("train_cfg",), ("test_cfg",)) and key in self.model_sections:
                self.plain(value, where, self.model_sections[key], looked_up)
            elif key in PLAIN_KEYS:
                self.plain(value, where, PLAIN_KEYS[key], looked_up)
            elif key == "nms":  # mmcv's own argument, whose `type` no registry knows
                for name, item in value.items():
                    self.node(item, (*where, str(name)), looked_up)
            elif (default := self.default_type(value, where)) is not None:
                self.arguments(value, where, *default, looked_up)
            elif isinstance(value.get("type"), str):
                self.typed(value, where, key, looked_up)
            else:
                for name, item in value.items():
                    self.node(item, (*where, str(name)), looked_up)
        elif isinstance(value, str) and "(" in value and key not in FILES and where[0].endswith(("model", "pipeline")):
            raise UnknownKey(where, (), value=value)  # mmcv and mmdet evaluate some names as Python; a call is no name

    def plain(self, value: Any, where: tuple[str, ...], keys: Any, looked_up: tuple[str, ...]) -> None:
        """A section whose keys are listed; below a None anything goes, save for what has a `type`."""
        if isinstance(value, list | tuple) and isinstance(keys, Mapping):
            for i, item in enumerate(value):
                self.plain(item, (*where, str(i)), keys, looked_up)
        elif isinstance(keys, Mapping) and isinstance(value, Mapping) and ("type" in keys or "type" not in value):
            for name, item in value.items():
                if name not in keys:
                    raise UnknownKey((*where, str(name)), keys)
                self.plain(item, (*where, str(name)), keys[name], looked_up)
        else:
            self.node(value, where, looked_up)

    def default_type(self, value: Mapping, where: tuple[str, ...]) -> tuple[Callable, set[str]] | None:
        """The class that mmengine takes for a section without a `type`, with the keys that its builder takes."""
        if "type" in value or len(where) != 1:
            return None
        section = where[0]
        if section == "train_cfg":
            return (EpochBasedTrainLoop if value.get("by_epoch", True) else IterBasedTrainLoop), {"by_epoch"}
        if section == "optim_wrapper":
            return (OptimWrapper, TAKEN_BY_BUILDER[section]) if "constructor" not in value else None
        default = {"val_cfg": ValLoop, "test_cfg": TestLoop, "log_processor": LogProcessor}.get(section)
        return (default, set()) if default else None

    def typed(self, value: Mapping, where: tuple[str, ...], key: str, looked_up: tuple[str, ...]) -> None:
        if (library := value["type"].rpartition(".")[0]) in self.libraries:
            self.libraries[library](value, where)
            return
        if key == "roi_layer" and "mmcv.ops" in sys.modules:  # mmdet takes these from the module, not from a registry
            layers = vars(sys.modules["mmcv.ops"])
        elif key == "override":
            layers = self.registered(("WEIGHT_INITIALIZERS",))
        else:
            layers = self.registered(looked_up)
        scope, _, name = value["type"].rpartition(".")
        # mmengine would import any module that a dotted name gives: nothing but a registry's scope goes before the dot
        if name not in layers or (scope and scope not in {"mmengine", *registries.MODELS.children}):
            raise UnknownKey((*where, "type"), [n for n in layers if not n.startswith("_")], value=value["type"])
        extra = TAKEN_BY_BUILDER.get(key, set()) | TAKEN_BY_BUILDER.get(where[0], set())
        self.arguments(value, where, layers[name], extra, looked_up)

    def arguments(
        self, value: Mapping, where: tuple[str, ...], target: Callable, extra: set[str], looked_up: tuple[str, ...]
    ) -> None:
        names, any_other = accepted_arguments(target)
        names = (names | extra | {"type", "_scope_"}) - {"self"}
        for name, item in value.items():
            # A constructor that takes anything still does not mean `max_keep_ckpt`.
            near = any_other and nearest(str(name), names, cutoff=0.85)
            if name not in names and (not any_other or near):
                raise UnknownKey((*where, str(name)), names, reader=getattr(target, "__name__", ""))
            if name == "constructor" and item not in self.registered(("OPTIM_WRAPPER_CONSTRUCTORS",)):
                known = self.registered(("OPTIM_WRAPPER_CONSTRUCTORS",))
                raise UnknownKey((*where, str(name)), known, value=str(item))
            self.node(item, (*where, str(name)), looked_up)

    def registered(self, names: Iterable[str]) -> dict[str, Callable]:
        """What the named registries hold, mmengine's own and those of the packages that were imported."""
        modules: dict[str, Callable] = {}
        for name in names:
            root = getattr(registries, name)
            # The tree's own names last: they win over those of another package in the same process.
            for child in sorted(root.children.values(), key=lambda child: child.scope == self.tree):
                if self.scope in (None, child.scope):
                    child.import_from_location()
                    modules.update(child.module_dict)
            modules = {**root.module_dict, **modules}
        return modules
