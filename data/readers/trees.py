"""Trees over classes from small files: YAML, JSON, Newick, or a table of children and parents as WordNet's.

    .yaml .json    inner nodes are mappings or lists, leaves are names:     {animal: {bird: [owl, gull], fish: [carp]}}
    .nwk .newick   ((owl,gull)bird,(carp)fish)animal;                       with lengths: (owl:1.5,gull:0.5)bird;
    .txt .tsv      a line an edge, child then parent, between them a tab, or blanks: owl bird; # begins a comment

The trees that the project brings lie in data/classes/trees and are asked for by their names.
"""

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from repmet.data.files.text import read_text
from repmet.errors import UserError

SHIPPED = Path(__file__).parents[1] / "classes" / "trees"
_NEWICK = re.compile(r"\s*('(?:[^']|'')*'|[(),:;]|[^\s(),:;']+)")


class Tree(NamedTuple):
    """parents: of every node but the root. lengths: of the edges to them, where the file gives any."""

    parents: dict[str, str]
    lengths: dict[str, float]


def read_tree(source: str | Path) -> Tree:
    """The tree of a file, or one of the project's by its name, such as `cifar100`.

    Inner nodes of a Newick file that have no name are called by their leaves.

    Raises:
        FileNotFoundError: there is no such file and no such name.
        ValueError: an ending that is not known, a file that cannot be understood, a node with two parents.
    """
    path = Path(source)
    if not path.suffix:
        path = SHIPPED / f"{source}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in SHIPPED.glob("*.yaml")))
        raise FileNotFoundError(f"{source}: no such file of a tree; the project brings: {known}")
    text = read_text(path)
    try:
        if path.suffix in (".yaml", ".yml", ".json"):
            tree = _of_mapping(json.loads(text) if path.suffix == ".json" else yaml.safe_load(text))
        elif path.suffix in (".nwk", ".newick"):
            tree = _of_newick(text)
        elif path.suffix in (".txt", ".tsv"):
            tree = _of_edges(text)
        else:
            raise UserError("a tree is a .yaml, .json, .nwk, .newick, .txt or .tsv file")
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise UserError(f"{path}: {' '.join(str(error).split())}") from None
    if not tree.parents:
        raise UserError(f"{path}: holds no tree: no node has a parent")
    return tree


def _add(parents: dict[str, str], child: Any, parent: str) -> str:
    child = _name(child)
    if child in parents:
        raise UserError(f"node {child!r} has two parents, {parents[child]!r} and {parent!r}, or is there twice")
    parents[child] = parent
    return child


def _name(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise UserError(f"the name of a node is a text, not {value!r}; put it in quotes")
    return str(value)


def _of_mapping(content: Any) -> Tree:
    if not isinstance(content, dict) or not content:
        raise UserError(f"a tree is a mapping of its inner nodes, not {type(content).__name__}")
    if len(content) > 1:
        content = {"root": content}
    parents: dict[str, str] = {}

    def walk(parent: str, children: Any) -> None:
        if isinstance(children, dict):
            for name, below in children.items():
                node = _add(parents, name, parent)
                if below is not None:
                    walk(node, below)
        elif isinstance(children, list):
            for child in children:
                if isinstance(child, dict):
                    walk(parent, child)
                else:
                    _add(parents, child, parent)
        else:
            _add(parents, children, parent)

    [(root, below)] = content.items()
    walk(_name(root), below)
    return Tree(parents, {})


def _of_edges(text: str) -> Tree:
    parents: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.split("#")[0].strip()
        if not line:
            continue
        columns = line.split("\t") if "\t" in line else line.split()
        if len(columns) != 2:
            raise UserError(f"line {number}: child and parent are two columns, not {len(columns)}")
        _add(parents, columns[0].strip(), columns[1].strip())
    return Tree(parents, {})


def _of_newick(text: str) -> Tree:
    tokens = _NEWICK.findall(re.sub(r"\[[^\]]*\]", "", text).strip())
    parents: dict[str, str] = {}
    lengths: dict[str, float] = {}
    position = 0

    def take(expected: str | None = None) -> str:
        nonlocal position
        if position >= len(tokens) or (expected is not None and tokens[position] != expected):
            token = tokens[position] if position < len(tokens) else "the end"
            raise UserError(f"Newick: {expected or 'a node'} was expected at token {position + 1}, not {token}")
        position += 1
        return tokens[position - 1]

    def peek() -> str:
        return tokens[position] if position < len(tokens) else ""

    def node() -> tuple[str, float | None]:
        children: list[tuple[str, float | None]] = []
        if peek() == "(":
            take("(")
            children.append(node())
            while peek() == ",":
                take(",")
                children.append(node())
            take(")")
        label = take() if peek() not in ("", "(", ")", ",", ":", ";") else ""
        label = label[1:-1].replace("''", "'") if label.startswith("'") else label
        name = label or "+".join(child for child, _ in children)
        if not name:
            raise UserError(f"Newick: a leaf without a name before token {position + 1}")
        length = None
        if peek() == ":":
            take(":")
            length = float(take())
        for child, above in children:
            _add(parents, child, name)
            if above is not None:
                lengths[child] = above
        return name, length

    node()
    take(";")
    return Tree(parents, lengths)
