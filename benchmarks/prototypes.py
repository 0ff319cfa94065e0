"""A training step on 1000 prototypes, against the released formulation, which lays out every difference to every prototype.

python -m benchmarks.prototypes [--out FILE.json] [--threads N] [--seconds S]

Times are medians measured alternately in one process; memory is what a process of its own needs for the step beyond its
inputs. The peer is our own writing of the formula `-|x - p|` by broadcast: a (B, K, d) tensor.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from repmet.benchmarks.measure import Comparison, compare, environment, format_table, write_json
from repmet.benchmarks.memory import peak_memory
from repmet.model_definitions.prototypes import LearntPrototypes

BATCH, CLASSES, DIM = 256, 1000, 512
CASE = f"prototypes, forward + backward, B = {BATCH}, K = {CLASSES}, d = {DIM}"


def inputs(batch: int = BATCH, classes: int = CLASSES, dim: int = DIM) -> tuple[Tensor, Tensor, Tensor]:
    """Embeddings (B, d) that take a gradient, prototypes (K, d) likewise, labels (B,)."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batch, dim, generator=generator).requires_grad_()
    prototypes = torch.rand(classes, dim, generator=generator).requires_grad_()
    return x, prototypes, torch.randint(0, classes, (batch,), generator=generator)


def ours(x: Tensor, prototypes: Tensor, labels: Tensor) -> Callable[[], tuple[Tensor, Tensor]]:
    """The gradients of the cross-entropy with regard to embeddings and prototypes, by `LearntPrototypes`."""
    module = LearntPrototypes(None, n_prototypes=len(prototypes), embedding_dim=prototypes.shape[1])
    weight = module.representatives.weight
    with torch.no_grad():
        weight.copy_(prototypes[:, None])

    def step() -> tuple[Tensor, Tensor]:
        gx, gp = torch.autograd.grad(F.cross_entropy(module(x), labels), (x, weight))
        return gx, gp.squeeze(1)

    return step


def broadcast(x: Tensor, prototypes: Tensor, labels: Tensor) -> Callable[[], tuple[Tensor, Tensor]]:
    """The same by differences (B, K, d)."""

    def step() -> tuple[Tensor, Tensor]:
        logits = -(x[:, None] - prototypes).norm(dim=-1)
        return torch.autograd.grad(F.cross_entropy(logits, labels), (x, prototypes))

    return step


WAYS = {"ours": ours, "broadcast": broadcast}


def check(x: Tensor, prototypes: Tensor, labels: Tensor) -> None:
    """Raises AssertionError where the two do not give one gradient."""
    for mine, theirs in zip(ours(x, prototypes, labels)(), broadcast(x, prototypes, labels)(), strict=True):
        if not torch.allclose(mine, theirs, rtol=1e-3, atol=1e-5):
            raise AssertionError(f"the gradients differ by {(mine - theirs).abs().max().item():.3g}")


def step_memory(way: str) -> float:
    """MiB by which a step raises the greatest memory of a process that does nothing else."""
    command = [sys.executable, "-m", "benchmarks.prototypes", "--memory-of", way]
    process = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(process.stdout.strip().splitlines()[-1])


def _own_step_memory(way: str) -> float:
    torch.set_num_threads(1)
    small = inputs(8, 8, 8)
    WAYS[way](*small)()  # what the first step of all costs once
    step = WAYS[way](*inputs())
    before = peak_memory()
    step()
    return peak_memory() - before


def main(argv: list[str] | None = None) -> list[Comparison]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", metavar="FILE.json", help="also write the figures there")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seconds", type=float, default=20.0, help="of the timing")
    parser.add_argument("--memory-of", choices=WAYS, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.memory_of:
        print(_own_step_memory(args.memory_of))
        return []
    torch.set_num_threads(args.threads)
    batch = inputs()
    check(*batch)
    row = compare(CASE, ours(*batch), "broadcast", broadcast(*batch), seconds=args.seconds, rounds=(3, 21))
    memory = {way: round(step_memory(way), 1) for way in WAYS}
    print(format_table([row]))
    print(f"\nmemory of a step: ours {memory['ours']} MiB, broadcast {memory['broadcast']} MiB")
    print(json.dumps(memory))
    if args.out:
        facts = {"memory_ours_mib": memory["ours"], "memory_broadcast_mib": memory["broadcast"]}
        write_json(args.out, environment() | facts, [row])
    return [row]


if __name__ == "__main__":
    main()
