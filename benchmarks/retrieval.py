"""Retrieval of a whole set in itself against the matrix product that it needs, and against PML's calculator with faiss.

    python -m benchmarks.retrieval [--images N] [--dim E] [--per-class R] [--threads N] [--out FILE]

Ours gives recall@1, 2, 4 and 8, R-precision and MAP@R; PML's calculator precision@1, R-precision and MAP@R, from the same
embeddings, and it is checked that both find the same. The product alone goes through the same blocks into one buffer. Peak
memory is that of the process with everything in it. Where faiss is not installed, its case is left out:

    python -m pip install --no-deps --target PEERS faiss-cpu packaging
    PYTHONPATH=PEERS python -m benchmarks.retrieval
"""

import argparse
import importlib.util
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from repmet.benchmarks.measure import Comparison, compare, environment, format_table, write_json
from repmet.benchmarks.memory import peak_memory
from repmet.classification.metrics.retrieval import retrieve, similarities
from repmet.experiments.running.allocator import keep_freed_memory

TARGETS = {"the matrix product alone": 1 / 1.5, "pytorch-metric-learning, faiss": 1.0}
MEMORY = 4.0  # GB, for 60,000 x 512
NAMES = {"recall@1": "precision_at_1", "R-precision": "r_precision", "MAP@R": "mean_average_precision_at_r"}


def embeddings_of(images: int, dim: int, per_class: int) -> tuple[Tensor, Tensor]:
    """Clouds on the unit sphere, about half of whose nearest neighbours are of the class."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(images) // per_class
    centres = torch.randn(int(labels.max()) + 1, dim, generator=generator)
    return F.normalize(centres[labels] + 2.5 * torch.randn(images, dim, generator=generator), dim=1), labels


def product(embeddings: Tensor) -> None:
    """The similarities that a retrieval goes through, and nothing with them."""
    for _ in similarities(embeddings, embeddings, "cosine", True):
        pass


def cases(embeddings: Tensor, labels: Tensor, seconds: float) -> Iterator[Comparison]:
    size = f"{len(embeddings):,} x {embeddings.shape[1]}"
    rounds = (2, 5)

    def ours() -> dict[str, float]:
        return retrieve(embeddings, labels).means()

    yield compare(
        f"retrieval, {size}", ours, "the matrix product alone", lambda: product(embeddings), seconds=seconds, rounds=rounds
    )
    if importlib.util.find_spec("faiss") is None:
        return
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
    from pytorch_metric_learning.utils.inference import FaissKNN

    knn = FaissKNN(index_init_fn=_inner_product)
    calculator = AccuracyCalculator(
        include=tuple(NAMES.values()), k="max_bin_count", knn_func=knn, device=torch.device("cpu")
    )

    def theirs() -> dict[str, float]:
        return calculator.get_accuracy(embeddings, labels)

    mine, other = ours(), theirs()
    for name, theirs_name in NAMES.items():
        if abs(mine[name] - other[theirs_name]) > 1e-4:
            raise AssertionError(f"{name}: ours {mine[name]}, pytorch-metric-learning's {other[theirs_name]}")
    yield compare(f"retrieval, {size}", ours, "pytorch-metric-learning, faiss", theirs, seconds=seconds, rounds=rounds)


def _inner_product(dim: int):
    import faiss

    return faiss.IndexFlatIP(dim)


def main(arguments: list[str] | None = None) -> list[Comparison]:
    parser = argparse.ArgumentParser(prog="benchmarks.retrieval", description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=60_000, help="queries and references (default: 60000)")
    parser.add_argument("--dim", type=int, default=512, help="dimensions (default: 512)")
    parser.add_argument("--per-class", type=int, default=5, help="images of a class (default: 5, as in Online Products)")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: 2)")
    parser.add_argument("--seconds", type=float, default=60.0, help="time for a case, two rounds at least (default: 60)")
    parser.add_argument("--out", help="JSON file to write")
    options = parser.parse_args(arguments)
    threads = torch.get_num_threads()
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    results: list[Comparison] = []
    try:
        env = environment()
        for result in cases(*embeddings_of(options.images, options.dim, options.per_class), options.seconds):
            results.append(result)
            aim = TARGETS[result.peer]
            print(f"{result.peer}: ours takes {1 / result.ratio:.2f} of its time, {1 / aim:.2f} is the aim", flush=True)
            if len(results) == 1:  # before any peer has taken memory of its own
                env["peak_memory_gb"] = round(peak_memory() * 2**20 / 1e9, 2)
                print(f"peak memory {env['peak_memory_gb']:.2f} GB, {MEMORY:.0f} GB is the aim at 60,000 x 512", flush=True)
    finally:
        torch.set_num_threads(threads)
    print("\n" + format_table(results) + "\n")
    if options.out:
        write_json(options.out, env, results)
    return results


if __name__ == "__main__":
    main()
