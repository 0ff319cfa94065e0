"""The lines of README that are to be copied into somebody's own training loop run as they stand."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

README = Path(__file__).parents[1] / "README.md"


@pytest.mark.filterwarnings("ignore:costs D is not symmetric")
def test_the_two_lines_of_prototypes():
    [code] = re.findall(r"<!-- test -->\n```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    K, d = 7, 5
    backbone = nn.Sequential(nn.Flatten(), nn.Linear(12, d))
    x, y = torch.randn(20, 3, 4), torch.arange(20) % K
    given = {"backbone": backbone, "K": K, "d": d, "x": x, "y": y, "D": torch.rand(K, K)}
    given["cross_entropy"] = nn.functional.cross_entropy
    exec(code, given)
    given["loss"].backward()
    assert given["model"](x).shape == (20, K)
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in given["model"].parameters())
