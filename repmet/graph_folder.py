"""A folder that `repmet export` wrote: a graph, and a JSON file that says what it takes and what it was made of."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from repmet.data.files.atomic import write_json
from repmet.data.files.digest import sha256_of
from repmet.errors import UserError

GRAPHS = {"onnx": "network.onnx", "openvino": "network.xml"}


def weights_file(graph: Path) -> Path:
    """Where a graph's weights are: in itself, or beside it."""
    return graph.with_suffix(".bin") if graph.suffix == ".xml" else graph


def files_of(format: str, facts: str) -> tuple[str, ...]:
    """What an exported model consists of.

    Args:
        format: one of `GRAPHS`.
        facts: the JSON file's name.
    """
    graph = Path(GRAPHS[format])
    return (facts, *dict.fromkeys((graph.name, weights_file(graph).name)))


def write_description(path: str | Path, format: str, facts: Mapping[str, Any]) -> None:
    """Writes the JSON file, last of all: a folder without it is none.

    Args:
        format: the name of its form, which a reader asks for.
        facts: plain values, among them `graph`, a file's name, and `sha256`, of the graph's weights file.
    """
    write_json(Path(path), {"format": format, **facts})


def read_description(path: str | Path, format: str, what: str) -> dict[str, Any]:
    """Reads what `write_description` wrote.

    Args:
        what: the graph is of, for the messages: `detector`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is damaged, or of another form.
    """
    path = Path(path)
    folder = path.parent
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder}: no exported {what}, it holds no {path.name}; `repmet export --out {folder}` makes one"
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: damaged ({error}); export the {what} again") from None
    if not isinstance(content, dict) or content.pop("format", None) != format:
        raise UserError(f"{path}: describes no exported {what} of this version ({format}); export it again")
    return content


def damaged(path: str | Path, error: Exception, what: str) -> UserError:
    """What to raise where a fact is missing or of another kind."""
    return UserError(f"{path}: damaged, {error} is missing or not what it should be; export the {what} again")


def check_graph(path: str | Path, graph: str, sha256: str, what: str) -> Path:
    """The graph beside a description, which is the one that it was written for.

    Raises:
        FileNotFoundError: it is not there. ValueError: it is another one.
    """
    file = Path(path).parent / graph
    weights = weights_file(file)
    if not weights.is_file():
        raise FileNotFoundError(f"{weights}: no such file, which {Path(path).name} names; export the {what} again")
    if sha256_of(weights) != sha256:
        raise UserError(f"{weights}: not the file that {Path(path).name} was written with; export the {what} again")
    return file
