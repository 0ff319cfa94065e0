"""The figure of the tree: where the nodes lie, what is drawn, a figure of real run folders."""

import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from repmet.classification.pictures.tree import draw, inner_places, main
from repmet.model_definitions.hierarchy import Hierarchy
from tests.classification.conftest import CLOSED
from tests.classification.protocols.test_cost_report import GUIDED
from tests.classification.test_train import train

TREE = Hierarchy({"a": "x", "b": "x", "c": "r", "x": "r"})
POINTS = torch.tensor([[0.0, 0.0], [2.0, 0.0], [4.0, 4.0]])


def test_inner_nodes_lie_between_their_children():
    assert TREE.names == ("a", "b", "c", "x")
    assert inner_places(POINTS, TREE).tolist() == [*POINTS.tolist(), [1, 0], [2.5, 2]]


def test_a_panel_shows_points_edges_and_names():
    axes = Figure().subplots()
    draw(axes, torch.randn(9, 2), torch.arange(9) % 3, POINTS, TREE, "title")
    assert [text.get_text() for text in axes.texts] == ["a", "b", "c"] and axes.get_title() == "title"
    ends = {tuple(map(tuple, line.get_xydata().tolist())) for line in axes.lines}
    assert ends == {((0, 0), (1, 0)), ((2, 0), (1, 0)), ((4, 4), (2.5, 2)), ((1, 0), (2.5, 2))}
    with pytest.raises(ValueError, match="two dimensions, not 3"):
        draw(axes, torch.randn(9, 3), torch.arange(9) % 3, POINTS, TREE)


def test_run_folders(experiment, tmp_path, capsys):
    path = experiment(CLOSED, over=GUIDED + "report: {method: guided}\n")
    assert train(path, "--work-dir", tmp_path / "run", "--cfg-options", "train_cfg.max_epochs=1") == 0
    out = tmp_path / "docs" / "figure.png"
    assert main([str(out), str(tmp_path / "run"), str(tmp_path / "run")]) == 0
    width, height = Image.open(out).size
    assert width > 1.5 * height
    assert main([str(out), str(tmp_path / "none.pth")]) == 2
    assert "error: " in capsys.readouterr().err
