"""Kept results: a JSON-lines file a family, a line a run, and every figure in it a row of one schema.

A row says what its figure is of, which differs by the row's kind (`KINDS`); then `metric`, `mean`, and where they are
known `ci95` (half-width or [low, high]) and `n`, the number of values behind both. Accuracies, recalls and APs are
fractions, costs and times have units of their own. Long curves lie beside a family, in FAMILY.curves.jsonl.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from repmet.data.files.atomic import write_text
from repmet.errors import UserError

NOT_KEPT = "revision not kept"
CURVES = ".curves"

_FIGURE = ("metric", "mean")
_ANY = ("ci95", "n")
_SPLIT = ("dataset", "split", "method", "seeds")
# What a figure of each kind is of: all of the first, and of the second what applies.
KINDS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "accuracies": (_SPLIT, ()),
    "costs": (_SPLIT, ()),
    "retrieval": (_SPLIT, ()),
    "paired": (("against",), ("episodes",)),
    "cost_differences": ((*_SPLIT, "against", "over"), ()),
    "few_shot": (("method", "shot", "finetune"), ("skipped_episodes",)),
    "few_shot_differences": (("method", "shot", "against"), ()),
    "shot_lists": (("method", "shot", "seeds"), ("values",)),
    "base_classes": ((), ()),
    "timings": (("case", "against"), ("spread",)),
    "own_data": (("set", "method", "marks", "draws"), ("against", "values")),
    "proposals": (("set", "images"), ()),
    "score_quality": (("set", "method", "marks", "draws"), ()),
    "thresholds": (("set", "marks", "shown", "least", "quantile", "draws"), ()),
    "negatives": (("experiment", "shot", "scores", "episodes"), ()),
    "clicks": (("set", "policy", "clicks", "draws"), ()),
    "faults": (("set", "marks", "draws"), ()),
    "chosen": (("set", "images", "draws"), ()),
    "page": (("set", "images"), ()),
    "person": (("set", "images"), ()),
    "distil": (("set", "detector", "marks", "accept", "images"), ()),
    "parity": (("runtime", "set", "marks", "images"), ("draws",)),
    "reliability": (("case", "command"), ()),
    "mutation": (("module",), ()),
    "stream": (("command", "images", "distinct", "side", "runtime"), ()),
    "sizes": (("set", "command", "images", "boxes"), ()),
    "indexes": (("images", "dim", "index", "setting"), ()),
    "few_shot_images": (("set", "head", "way", "shot"), ()),
    "mislabelled": (("set", "images", "share", "draws"), ()),
    "several_labels": (("set", "method", "classes", "images"), ()),
    "few_shot_heads": (("set", "method", "shot", "draws"), ()),
    "tiles": (("set", "tile", "marks", "images"), ("side", "objects")),
}


@dataclass(frozen=True)
class Run:
    """A run that was kept: where its figures come from, and the figures.

    Attributes:
        family, name: its file, and its name there.
        revision: of the code, an ancestor of what holds this line, or `NOT_KEPT`; `near` is then the commit that the changed
            files stood on, where it is known.
        commands: that make it again, at that revision; at the present one where it was not kept.
        rows: by kind.
        experiment, seed, checkpoint, sha256, machine, versions, seconds, training, rule: as the commands write them.
        episodes: the protocols that the episodes of the rows were drawn by.
        environment: what else a benchmark depends on.
        curves: lists of numbers by name.

    Raises:
        ValueError: a row is of an unknown kind, lacks a key or has an unknown one.
    """

    family: str
    name: str
    revision: str
    commands: Sequence[str]
    rows: Mapping[str, Sequence[Mapping[str, Any]]]
    near: str | None = None
    experiment: str | None = None
    seed: int | None = None
    checkpoint: str | None = None
    sha256: str | None = None
    machine: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    seconds: float | None = None
    training: Mapping[str, Any] | None = None
    rule: Mapping[str, Any] | None = None
    episodes: Sequence[Mapping[str, Any]] = ()
    environment: Mapping[str, Any] = field(default_factory=dict)
    curves: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for kind, rows in self.rows.items():
            if kind not in KINDS:
                raise UserError(f"{self}: there are no rows of the kind {kind!r}; those there are: {', '.join(KINDS)}")
            needed, allowed = KINDS[kind]
            for row in rows:
                if missing := [key for key in (*needed, *_FIGURE) if key not in row]:
                    raise UserError(f"{self}: a row of {kind} lacks {', '.join(missing)}")
                if unknown := row.keys() - {*needed, *allowed, *_FIGURE, *_ANY}:
                    raise UserError(f"{self}: a row of {kind} has no {', '.join(sorted(unknown))}")

    def __str__(self) -> str:
        return f"{self.family}/{self.name}"


_NEEDED = ("name", "revision", "commands", "rows")
_FIELDS = [f.name for f in fields(Run) if f.name not in ("family", "curves")]


def read_runs(folder: Path) -> list[Run]:
    """All runs of a folder's families, by family and in the order of their lines.

    Raises:
        ValueError: a line is not JSON, not a run, or of the name of another one.
    """
    return [run for path in sorted(folder.glob("*.jsonl")) if not path.stem.endswith(CURVES) for run in read_family(path)]


def read_family(path: Path) -> list[Run]:
    """The runs of one file."""
    beside = path.with_name(f"{path.stem}{CURVES}.jsonl")
    curves = {line["name"]: line["curves"] for _, line in _lines(beside, ("name", "curves"))} if beside.is_file() else {}
    runs: dict[str, Run] = {}
    for number, line in _lines(path, _FIELDS):
        if missing := [key for key in _NEEDED if key not in line]:
            raise UserError(f"{path.name}, line {number}: a run without {', '.join(missing)}")
        run = Run(family=path.stem, curves=curves.get(line["name"], {}), **line)
        if run.name in runs:
            raise UserError(f"{path.name}, line {number}: there are two runs {run.name}")
        runs[run.name] = run
    if strangers := curves.keys() - runs.keys():
        raise UserError(f"{beside.name}: curves of runs that {path.name} does not have: {', '.join(sorted(strangers))}")
    return list(runs.values())


def write_family(path: Path, runs: Iterable[Run]) -> None:
    """A line a run, by name; curves beside it, where there are any. Each file is written whole or not at all."""
    runs = sorted(runs, key=lambda run: run.name)
    curves = [f"{json.dumps({'name': run.name, 'curves': run.curves})}\n" for run in runs if run.curves]
    beside = path.with_name(f"{path.stem}{CURVES}.jsonl")
    if curves:
        write_text(beside, "".join(curves))
    else:
        beside.unlink(missing_ok=True)
    write_text(path, "".join(f"{_line(run)}\n" for run in runs))


def _line(run: Run) -> str:
    values = asdict(run)
    line = {key: values[key] for key in _FIELDS if key in _NEEDED or values[key] not in (None, (), [], {})}
    return json.dumps(line, ensure_ascii=False)


def _lines(path: Path, keys: Sequence[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            line = json.loads(text)
        except ValueError as error:
            raise UserError(f"{path.name}, line {number}: not valid JSON: {error}") from error
        if not isinstance(line, dict):
            raise UserError(f"{path.name}, line {number}: a run is a mapping, not {type(line).__name__}")
        if unknown := line.keys() - set(keys):
            raise UserError(f"{path.name}, line {number}: a run has no {', '.join(sorted(unknown))}")
        yield number, line
