"""The notebook runs from top to bottom, and tells what it claims: over three seeds guided prototypes cost least."""

import json
from pathlib import Path

NOTEBOOK = Path(__file__).parents[2] / "docs" / "mgp.ipynb"


def test_the_notebook():
    content = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    cells = ["".join(cell["source"]) for cell in content["cells"] if cell["cell_type"] == "code"]
    names: dict = {}
    for number, cell in enumerate(cells):
        exec(compile(cell, f"mgp.ipynb, code cell {number}", "exec"), names)
    cost = {name: figures["average cost"] for name, figures in names["mean"].items()}
    assert len(names["SEEDS"]) == 3
    assert cost["guided prototypes"] < min(cost["free prototypes"], cost["cross-entropy"])
    distortion = {name: figures["distortion"] for name, figures in names["mean"].items()}
    assert distortion["guided prototypes"] < min(distortion["free prototypes"], distortion["cross-entropy"])
    assert len(names["figure"].axes) == 3
