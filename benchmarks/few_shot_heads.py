"""Heads on the same frozen features at 1 to 16 images a class: RepMet's, scikit-learn's and easyfsl's.

    python -m benchmarks.few_shot_heads caltech101 flowers17 flowers102_64 cars196_crops --out few_shot_heads.json

Every image is embedded once. A draw orders the images of each class; the first ones are the support, nested from one number
of shots to the next, and those behind the largest number are asked about, at every number alike. All heads of a draw meet
the same images. The protocol of adapter papers (1, 2, 4, 8, 16 shots: Zhang et al., "Tip-Adapter", 2022), with ten draws in
the place of one. A number of shots that leaves a class no image to ask about is left out.

Figures: accuracy; the paired difference from logistic regression; the milliseconds that fitting and answering take. What
heads were free to choose was chosen on ten classes of CUB, which are none of the sets: the weight that holds representatives
(0.1; 1 in the whitened metric) and C of logistic regression (100, of 1 to 1000). Where easyfsl is not installed, its heads
are left out: `benchmarks.episodes` says how to put it into a folder of its own.
"""

import argparse
import importlib.util
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from repmet.benchmarks.embedded_folders import embedded
from repmet.classification.few_shot_classifier import FewShotClassifier
from repmet.classification.fitted_head import PLAIN, Tuning, fitted_head
from repmet.data.files.atomic import write_json
from repmet.errors import UserError, exit_code
from repmet.experiments.reporting.intervals import mean_interval, paired_difference
from repmet.experiments.running.provenance import origin

Head = Callable[[Tensor, Tensor, int, Tensor], Tensor]  # supports (S, e), labels (S,), N, queries (Q, e) -> classes (Q,)
LOGISTIC = "logistic regression, scikit-learn"
C = 100.0


def representatives(tuning: Tuning) -> Head:
    def answers(support: Tensor, labels: Tensor, classes: int, queries: Tensor) -> Tensor:
        head = fitted_head(support.numpy(), labels.numpy(), classes, 1, tuning)
        return torch.from_numpy(head.distances(queries.numpy()).min(-1).argmin(1))

    return answers


def nearest_centroid(support: Tensor, labels: Tensor, classes: int, queries: Tensor) -> Tensor:
    from sklearn.neighbors import NearestCentroid

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of one image a class, whose deviation is 0
        fit = NearestCentroid().fit(support.numpy(), labels.numpy())
    return torch.from_numpy(fit.predict(queries.numpy()))


def logistic(support: Tensor, labels: Tensor, classes: int, queries: Tensor) -> Tensor:
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its penalty's name, which changes between versions
        fit = LogisticRegression(C=C, max_iter=1000).fit(support.numpy(), labels.numpy())
    return torch.from_numpy(fit.predict(queries.numpy()))


def easyfsl(method: str) -> Head:
    def answers(support: Tensor, labels: Tensor, classes: int, queries: Tensor) -> Tensor:
        import easyfsl.methods

        model = getattr(easyfsl.methods, method)()  # without a network: what it gets are features
        with torch.no_grad():
            model.process_support_set(support, labels)
            return model(queries).argmax(1)

    return answers


def heads() -> dict[str, Head]:
    """By name, those of installed packages."""
    there: dict[str, Head] = {
        "nearest class mean": representatives(PLAIN),
        "RepMet": representatives(Tuning(1.0, 0.1)),
        "RepMet, whitened metric": representatives(Tuning(0.5, 1.0)),
        LOGISTIC: logistic,
        "nearest centroid, scikit-learn": nearest_centroid,
    }
    if importlib.util.find_spec("easyfsl"):
        there |= {
            "Prototypical Networks, easyfsl": easyfsl("PrototypicalNetworks"),
            "SimpleShot, easyfsl": easyfsl("SimpleShot"),
        }
    return there


def draw(labels: Tensor, shots: Sequence[int], queries: int, seed: int) -> tuple[dict[int, Tensor], Tensor]:
    """Indices of the supports by number of shots, and of the images that are asked about."""
    generator = torch.Generator().manual_seed(seed)
    orders = []
    for c in range(int(labels.max()) + 1):
        members = (labels == c).nonzero().flatten()
        orders.append(members[torch.randperm(len(members), generator=generator)])
    asked = torch.cat([order[max(shots) :][:queries] for order in orders])
    return {shot: torch.cat([order[:shot] for order in orders]) for shot in shots}, asked


def measure(embeddings: Tensor, labels: Tensor, shots: Sequence[int], draws: int, queries: int) -> list[dict[str, object]]:
    """A row a method and number of shots.

    Args:
        embeddings: (n, e). labels: (n,). queries: images of a class that are asked about, at most.
    """
    shots = [shot for shot in shots if shot < torch.bincount(labels).min()]
    if not shots:
        raise UserError("every class needs two images at least")
    classes, methods = int(labels.max()) + 1, heads()
    right: dict[tuple[str, int], list[float]] = {}
    spent: dict[tuple[str, int], list[float]] = {}
    for seed in range(draws):
        supports, asked = draw(labels, shots, queries, seed)
        for shot, support in supports.items():
            for name, head in methods.items():
                if shot == 1 and name == "RepMet, whitened metric":
                    continue  # images that are alone in their class do not spread
                start = time.perf_counter()
                answers = head(embeddings[support], labels[support], classes, embeddings[asked])
                spent.setdefault((name, shot), []).append(1e3 * (time.perf_counter() - start))
                right.setdefault((name, shot), []).append((answers == labels[asked]).float().mean().item())
    rows: list[dict[str, object]] = []
    for (name, shot), values in right.items():
        row: dict[str, object] = {"method": name, "shot": shot, "draws": draws}
        row |= {"accuracy": mean_interval(values).as_json(), "milliseconds": mean_interval(spent[name, shot]).as_json()}
        if name != LOGISTIC:
            row["above_logistic"] = paired_difference(values, right[LOGISTIC, shot]).as_json()
        rows.append(row)
    return rows


def said(row: Mapping[str, object]) -> str:
    accuracy, took = row["accuracy"], row["milliseconds"]
    assert isinstance(accuracy, dict) and isinstance(took, dict)
    interval = "" if accuracy["ci95"] is None else f" ± {100 * accuracy['ci95']:.1f}"
    return f"{row['shot']:>3} {row['method']:<36} {100 * accuracy['mean']:.1f}{interval} %, {took['mean']:.0f} ms"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.few_shot_heads",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folders", nargs="+", metavar="FOLDER", help="of class folders, as named or in REPMET_DATA")
    parser.add_argument("--encoder", help="as `repmet classify` takes it (default: a frozen EfficientNet-Lite0)")
    parser.add_argument("--shot", type=int, nargs="+", default=[1, 2, 4, 8, 16], metavar="K")
    parser.add_argument("--draws", type=int, default=10, metavar="N")
    parser.add_argument("--queries", type=int, default=24, metavar="Q", help="of a class, at most (24)")
    parser.add_argument("--out", type=Path, metavar="FILE")
    args = parser.parse_args(argv)

    def command() -> None:
        start, rows = time.monotonic(), []
        classifier = FewShotClassifier(args.encoder)
        for folder in args.folders:
            embeddings, labels = embedded(folder, classifier, minimum=2, limit=max(args.shot) + args.queries)
            name = Path(folder).name
            print(f"{name}: {len(labels)} images of {int(labels.max()) + 1} classes", flush=True)
            for row in measure(embeddings, labels, args.shot, args.draws, args.queries):
                rows.append({"set": name, **row})
                print(said(row), flush=True)
        if args.out:
            about = {"protocol": "few-shot heads", "encoder": classifier.encoder.source, "queries": args.queries}
            seconds = {"seconds": round(time.monotonic() - start, 1)}
            write_json(args.out, origin() | about | seconds | {"rows": rows})

    return exit_code(command)


if __name__ == "__main__":
    sys.exit(main())
