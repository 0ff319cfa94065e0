"""The prototypes' benchmark compares equal gradients, and its memory is that of the step."""

import subprocess
import sys

import pytest
import torch

from repmet.benchmarks import prototypes


def test_both_ways_give_one_gradient():
    batch = prototypes.inputs(16, 12, 8)
    prototypes.check(*batch)
    x, P, y = batch
    logits = -torch.cdist(x, P)
    expected = torch.autograd.grad(torch.nn.functional.cross_entropy(logits, y), (x, P))
    for way in prototypes.WAYS.values():
        for mine, theirs in zip(way(*batch)(), expected, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-5)


def test_a_wrong_gradient_is_found(monkeypatch):
    monkeypatch.setattr(prototypes, "broadcast", lambda x, p, y: lambda: (torch.zeros_like(x), torch.zeros_like(p)))
    with pytest.raises(AssertionError, match="the gradients differ by"):
        prototypes.check(*prototypes.inputs(16, 12, 8))


def test_the_broadcast_takes_its_tensor():
    """In a process of its own: the greatest memory of this one may have been greater before."""
    code = (
        "from benchmarks import prototypes as p; p.inputs.__defaults__ = (64, 400, 256); "
        "print(p._own_step_memory('broadcast'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) > 64 * 400 * 256 * 4 / 2**20 * 0.9
