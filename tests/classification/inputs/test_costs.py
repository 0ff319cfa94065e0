"""The section `costs` of an experiment as a matrix over classes."""

import pytest

from repmet.classification.inputs.costs import read_costs

CLASSES = [str(i) for i in range(10)]
TREE = {"tree": "digits_visual"}


def test_costs_of_a_section():
    costs = read_costs({"numbers": True}, ["3", "1", "10"])
    assert costs.D.tolist() == [[0, 2, 7], [2, 0, 9], [7, 9, 0]] and costs.hierarchy is None
    D = read_costs(TREE, CLASSES).D
    assert D[1, 7] == 2 and D[2, 3] == 6
    for section, message in (
        ({}, "costs is one of tree, numbers, not empty"),
        ({"tree": "x", "numbers": True}, "not tree, numbers"),
        ({"numbers": True, "other": 1}, "not numbers, other"),
    ):
        with pytest.raises(ValueError, match=message):
            read_costs(section, CLASSES)
    with pytest.raises(ValueError, match=r"the classes are no numbers: .*'owl'"):
        read_costs({"numbers": True}, ["1", "owl"])
    with pytest.raises(ValueError, match=r"costs\.tree digits_visual: the tree has no leaf '10'"):
        read_costs(TREE, [*CLASSES, "10"])
