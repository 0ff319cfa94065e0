"""Trees from files: one tree in every form, the shipped ones, and what cannot be read."""

import json
from pathlib import Path

import pytest

from repmet.data.readers.trees import SHIPPED, read_tree
from repmet.model_definitions.hierarchy import Hierarchy

ANIMALS = {"owl": "bird", "gull": "bird", "carp": "fish", "bird": "animal", "fish": "animal", "worm": "animal"}
FORMS = {
    "a.yaml": "animal:\n  bird: [owl, gull]\n  fish: {carp: }\n  worm:\n",
    "b.json": json.dumps({"animal": [{"bird": ["owl", "gull"]}, {"fish": "carp"}, "worm"]}),
    "c.nwk": "((owl, gull)bird, (carp)fish, [a comment] 'worm')animal;\n",
    "d.txt": "# child parent\nowl bird\ngull bird\ncarp fish\nbird animal\nfish animal # inner\n\nworm animal\n",
    "e.tsv": "\n".join(f"{child}\t{parent}" for child, parent in ANIMALS.items()),
}


@pytest.mark.parametrize("name", FORMS)
def test_one_tree_in_every_form(name, tmp_path):
    path = tmp_path / name
    path.write_text(FORMS[name])
    assert read_tree(path) == (ANIMALS, {})


def test_newick_lengths_and_names(tmp_path):
    path = tmp_path / "a.newick"
    path.write_text("((A:0.5,'it''s B':1e-1):2,C:3)root;")
    parents, lengths = read_tree(path)
    assert parents == {"A": "A+it's B", "it's B": "A+it's B", "A+it's B": "root", "C": "root"}
    D = Hierarchy(parents, ["A", "it's B", "C"], lengths).distances()
    assert D.flatten().tolist() == pytest.approx([0, 0.6, 5.5, 0.6, 0, 5.1, 5.5, 5.1, 0])


def test_several_mappings_are_below_one_root_and_numbers_are_names(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("even: [0, 2]\nodd: [1, 3]\n")
    assert read_tree(path).parents == {
        "even": "root", "0": "even", "2": "even", "odd": "root", "1": "odd", "3": "odd"
    }  # fmt: skip


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_shipped_trees(path):
    tree = Hierarchy(read_tree(path.stem).parents)
    edges = (tree.paths[: tree.num_classes] >= 0).sum(1)
    assert edges.unique().numel() == 1  # every class as deep as the others
    number, depth = {"digits_visual": (10, 3), "flowers17": (17, 4), "caltech101": (101, 3), "cifar100": (100, 2)}[path.stem]
    assert (tree.num_classes, tree.depth) == (number, depth)
    if path.stem == "cifar100":
        assert (tree.siblings[:100].bincount() == 5).sum() == 20


def test_the_trees_are_of_the_real_folders(repmet_data):
    for name in ("flowers17", "caltech101"):
        folders = sorted(p.name for p in (repmet_data / name).iterdir() if p.is_dir())
        assert sorted(Hierarchy(read_tree(name).parents).classes) == folders


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.yaml", "animal: [owl, owl]", "node 'owl' has two parents"),
        ("a.yaml", "a: {x: {c: [d]}, y: {c: [e]}}", "node 'c' has two parents, 'x' and 'y'"),
        ("a.yaml", "animal: [yes, no]", "the name of a node is a text, not True; put it in quotes"),
        ("a.yaml", "[a, b]", "a tree is a mapping of its inner nodes, not list"),
        ("a.yaml", "a: {b: ", "a.yaml: "),
        ("a.json", '{"a": ', "a.json: Expecting value"),
        ("a.txt", "owl bird night\n", "line 1: child and parent are two columns, not 3"),
        ("a.json", "[" * 100_000, "a.json: maximum recursion depth"),
        ("a.nwk", "(" * 100_000, "a.nwk: maximum recursion depth"),
        ("a.txt", "# nothing\n", "holds no tree"),
        ("a.nwk", "((owl,gull)bird", r"Newick: \) was expected at token 8, not the end"),
        ("a.nwk", "(owl,)bird;", "a leaf without a name"),
        ("a.nwk", "(owl:x)bird;", "could not convert"),
        ("a.csv", "owl,bird", "a tree is a .yaml"),
    ],
)
def test_what_cannot_be_read(name, text, message, tmp_path: Path):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as failure:
        read_tree(path)
    assert name in str(failure.value) and "\n" not in str(failure.value)


def test_no_such_tree():
    with pytest.raises(FileNotFoundError, match=r"flower17: no such file of a tree; the project brings: caltech101"):
        read_tree("flower17")
