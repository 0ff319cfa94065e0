"""Which index to search many embeddings by: flat, inverted lists (IVF) or a graph (HNSW) of faiss, recall against time.

    python -m benchmarks.indexes --images 1000000 --dim 128 --out build/bench/indexes.json

The embeddings are clouds on the unit sphere: centres of a smaller dimension, mixed at random into the larger one, with
noise; the queries are others of the same clouds. Recall is the share of a query's ten nearest (as flat gives them) that
an index gives. Queries come one at a time, in one thread. Where the memory does not suffice fewer images are taken, and
said.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from repmet.benchmarks.memory import peak_memory
from repmet.data.files.atomic import check_folder, write_json
from repmet.errors import MissingPackage, exit_code
from repmet.experiments.running.provenance import origin

NEAREST = 10
PROBES = (1, 4, 16, 64)  # lists that IVF looks into
EFFORTS = (16, 32, 64, 128, 256)  # candidates that HNSW keeps
LINKS, EFFORT = 16, 64  # of HNSW's graph, and candidates while it is built
TRAINED = 40  # embeddings a list that IVF's centres are learnt from


def embeddings_of(images: int, dim: int, clouds: int, latent: int = 32, seed: int = 0) -> np.ndarray:
    """Float32 (images, dim) of unit length, made a block at a time."""
    draw = np.random.default_rng(seed)
    centres = np.random.default_rng(1).normal(size=(clouds, latent)).astype(np.float32)
    mixing = np.random.default_rng(2).normal(size=(latent, dim)).astype(np.float32)
    rows = np.empty((images, dim), np.float32)
    for start in range(0, images, 50_000):
        block = rows[start : start + 50_000]
        of = draw.integers(0, clouds, len(block))
        inner = centres[of] + 0.7 * draw.normal(size=(len(block), latent)).astype(np.float32)
        block[:] = inner @ mixing + 0.5 * draw.normal(size=block.shape).astype(np.float32)
        block /= np.linalg.norm(block, axis=1, keepdims=True)
    return rows


def timed(search: Callable[[np.ndarray], np.ndarray], queries: np.ndarray) -> tuple[np.ndarray, float]:
    """The neighbours (Q, 10) of queries that come one at a time, and the median milliseconds of one."""
    answers, seconds = [], []
    for query in queries:
        start = time.perf_counter()
        answers.append(search(query[None])[0])
        seconds.append(time.perf_counter() - start)
    return np.stack(answers), 1e3 * float(np.median(seconds))


def rows_of(vectors: np.ndarray, queries: np.ndarray) -> Iterator[dict[str, Any]]:
    """A row an index and setting; flat comes first, and is the truth."""
    import faiss

    faiss.omp_set_num_threads(1)
    dim = vectors.shape[1]

    def row(index: str, setting: str, built: float, megabytes: float, answers: np.ndarray, ms: float) -> dict[str, Any]:
        recall = np.mean([len(set(a) & set(t)) / NEAREST for a, t in zip(answers, truth, strict=True)])
        figures = {"recall": float(recall), "ms_a_query": ms, "built_s": built, "mb": megabytes}
        return {"index": index, "setting": setting, **{metric: {"mean": value} for metric, value in figures.items()}}

    def neighbours(of: Any) -> Callable[[np.ndarray], np.ndarray]:
        return lambda query: of.search(query, NEAREST)[1]

    plain = vectors.nbytes / 1e6
    start = time.perf_counter()
    flat = faiss.IndexFlatL2(dim)
    flat.add(vectors)
    built = time.perf_counter() - start
    truth, ms = timed(neighbours(flat), queries)
    yield row("flat", "", built, plain, truth, ms)
    del flat

    lists = max(1, int(4 * len(vectors) ** 0.5))
    quantiser = faiss.IndexFlatL2(dim)
    start = time.perf_counter()
    inverted = faiss.IndexIVFFlat(quantiser, dim, lists)
    inverted.cp.max_points_per_centroid = TRAINED
    inverted.train(vectors[:: max(1, len(vectors) // (TRAINED * lists))])
    inverted.add(vectors)
    built = time.perf_counter() - start
    for probes in PROBES:
        inverted.nprobe = probes
        answers, ms = timed(neighbours(inverted), queries)
        yield row(f"IVF, {lists} lists", f"nprobe {probes}", built, plain + 8e-6 * len(vectors), answers, ms)
    del inverted

    start = time.perf_counter()
    graph = faiss.IndexHNSWFlat(dim, LINKS)
    graph.hnsw.efConstruction = EFFORT
    graph.add(vectors)
    built = time.perf_counter() - start
    for effort in EFFORTS:
        graph.hnsw.efSearch = effort
        answers, ms = timed(neighbours(graph), queries)
        links = 1e-6 * len(vectors) * (2 * LINKS * 4 + 8)  # 2 M links of 4 bytes at the lowest level, and offsets
        yield row(f"HNSW, M {LINKS}", f"efSearch {effort}", built, plain + links, answers, ms)


def fitting(images: int, dim: int) -> int:
    """So many images, or fewer where the machine has no memory for them twice over."""
    facts = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    room = 1024 * int(facts["MemAvailable"].split()[0])
    needed = dim * 4 * 2.5
    if images * needed <= room:
        return images
    fewer = int(room / needed)
    print(f"{images} embeddings need {images * needed / 1e9:.1f} GB, {room / 1e9:.1f} are free: {fewer} are taken")
    return fewer


def run(args: argparse.Namespace) -> None:
    try:
        import faiss  # noqa: F401
    except ImportError:
        raise MissingPackage("benchmarks.indexes needs faiss: pip install 'repmet[similar]'") from None
    check_folder(Path(args.out).parent)
    images = fitting(args.images, args.dim)
    clouds = max(10, images // 1000)
    vectors, queries = (embeddings_of(n, args.dim, clouds, seed=seed) for seed, n in enumerate((images, args.queries)))
    rows = []
    for row in rows_of(vectors, queries):
        rows.append({"images": images, "dim": args.dim} | row)
        figures = ", ".join(f"{key} {value['mean']:.3g}" for key, value in row.items() if isinstance(value, dict))
        print(f"{row['index']:<20} {row['setting']:<14} {figures}", flush=True)
    print(f"{peak_memory():.0f} MiB at most")
    write_json(args.out, {"protocol": "indexes", "seed": 0, **origin(), "rows": rows})
    print(f"written: {args.out}")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.indexes", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=1_000_000, metavar="N", help="embeddings (default: 1000000)")
    parser.add_argument("--dim", type=int, default=128, metavar="E", help="dimensions (default: 128)")
    parser.add_argument("--queries", type=int, default=200, metavar="Q", help="default: 200")
    parser.add_argument("--out", default="build/bench/indexes.json", metavar="FILE")
    args = parser.parse_args(argv)
    return exit_code(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
