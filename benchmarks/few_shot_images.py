"""How good the classifier of `repmet classify` is on folders of images: accuracy, calibration, and what it calls unknown.

    python -m benchmarks.few_shot_images flowers17 --out few_shot_flowers17.json
    python -m benchmarks.few_shot_images caltech101 --encoder resnet18 --way 20 --shot 1 5

Every image is embedded once. An episode draws classes and a support set, and asks about other images of these classes and
about images of as many others, which are of none. Figures: accuracy; the negative logarithm of the likelihood and the
expected calibration error (Naeini et al. 2015, 15 bins of equal width) of the probabilities; the area under the ROC curve of
the distance to the nearest representative, by which unknown images are told; the share of known and of unknown images that
`none_share` refuses.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from repmet.classification.few_shot_classifier import FewShotClassifier
from repmet.classification.learnt_images import LearntImages
from repmet.classification.support_images import read_support_images
from repmet.data.files.atomic import write_text
from repmet.errors import UserError
from repmet.experiments.reporting.intervals import mean_interval
from repmet.experiments.running.provenance import origin
from repmet.model_definitions.representatives import soft_posterior, squared_distances

BINS = 15
QUERIES = 5  # of a class, at most


def calibration_error(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """`sum_b |B_b| / n |accuracy(B_b) - confidence(B_b)|` over bins of the largest probability.

    Args:
        probabilities: (n, N). labels: (n,).
    """
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = [abs(right[bins == b].sum() - confidence[bins == b].sum()) for b in np.unique(bins)]
    return float(sum(gaps) / len(labels))


def episode(
    embeddings: Tensor, labels: Tensor, way: int, shot: int, modes: int | None, none_share: float, generator: torch.Generator
) -> tuple[dict[str, float], np.ndarray, np.ndarray]:
    """The figures of one episode, its probabilities (Q, way) and their true classes (Q,).

    Args:
        embeddings: (n, e). labels: (n,).
    """
    drawn = torch.randperm(int(labels.max()) + 1, generator=generator)
    known, unknown = drawn[:way].tolist(), drawn[way : 2 * way].tolist()
    support, queries = [], []
    for c in known:
        order = (labels == c).nonzero().flatten()
        order = order[torch.randperm(len(order), generator=generator)]
        support.append(order[:shot])
        queries.append(order[shot : shot + QUERIES])
    strangers = torch.cat([(labels == c).nonzero().flatten()[:QUERIES] for c in unknown])
    numbers = torch.arange(way)
    learnt = LearntImages(
        tuple(map(str, range(way))),
        embeddings[torch.cat(support)],
        numbers.repeat_interleave(shot),
        ("",) * (way * shot),
        torch.zeros(way * shot, 1, 1, 3, dtype=torch.uint8),
        modes,
        None,
    )
    truth = torch.cat([numbers[i].repeat(len(q)) for i, q in enumerate(queries)])
    d2 = squared_distances(embeddings[torch.cat(queries)], learnt.points)  # (Q, way, K)
    probabilities = soft_posterior(d2, learnt.sigma)
    near, far = (x.flatten(1).amin(1).numpy() for x in (d2, squared_distances(embeddings[strangers], learnt.points)))
    figures = {
        "accuracy": (probabilities.argmax(1) == truth).float().mean().item(),
        "negative log-likelihood": -probabilities[torch.arange(len(truth)), truth].log().mean().item(),
        "AUROC of unknown": float(roc_auc_score([0] * len(near) + [1] * len(far), np.concatenate([near, far]))),
    }
    if sum(len(y) for _, y in learnt.held_out) >= 1 / none_share - 1:
        farthest = learnt.farthest(none_share)
        figures |= {"known refused": float((near > farthest).mean()), "unknown refused": float((far > farthest).mean())}
    return figures, probabilities.numpy(), truth.numpy()


def measure(
    embeddings: Tensor, labels: Tensor, way: int, shot: int, modes: int | None, none_share: float, episodes: int, seed: int
) -> list[Mapping[str, object]]:
    """One row a figure, with intervals over episodes; the calibration error is of all episodes' answers together."""
    generator = torch.Generator().manual_seed(seed)
    results = [episode(embeddings, labels, way, shot, modes, none_share, generator) for _ in range(episodes)]
    rows = []
    for name in results[0][0]:
        estimate = mean_interval([figures[name] for figures, _, _ in results])
        rows.append({"metric": f"{way}-way {shot}-shot {name}", **estimate.as_json()})
    error = calibration_error(np.concatenate([p for _, p, _ in results]), np.concatenate([y for _, _, y in results]))
    return [*rows, {"metric": f"{way}-way {shot}-shot calibration error", "mean": error, "ci95": None, "n": episodes}]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.few_shot_images",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", help="a folder of class folders")
    parser.add_argument("--encoder", help="as `repmet classify` takes it (default: a frozen EfficientNet-Lite0)")
    parser.add_argument("--way", type=int, default=5, metavar="N")
    parser.add_argument("--shot", type=int, nargs="+", default=[1, 5], metavar="K")
    parser.add_argument("--modes", type=int, default=1, metavar="K", help="representatives of a class; 0: every image")
    parser.add_argument("--none-share", type=float, default=0.1, metavar="S")
    parser.add_argument("--episodes", type=int, default=300, metavar="N")
    parser.add_argument("--seed", type=int, default=9001)
    parser.add_argument("--out", type=Path, metavar="FILE")
    args = parser.parse_args(argv)
    try:
        by_class = read_support_images(args.folder)
        needed = max(args.shot) + 1
        by_class = {name: images for name, images in by_class.items() if len(images) >= needed}
        if len(by_class) < 2 * args.way:
            there = len(by_class)
            raise UserError(f"{args.folder}: {2 * args.way} classes of {needed} images are needed, {there} are there")
        classifier = FewShotClassifier(args.encoder)
        embeddings = classifier.embed([image for images in by_class.values() for image in images])
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    labels = torch.arange(len(by_class)).repeat_interleave(torch.tensor([len(images) for images in by_class.values()]))
    rows = []
    for shot in args.shot:
        modes, share = args.modes or None, args.none_share
        rows += measure(embeddings, labels, args.way, shot, modes, share, args.episodes, args.seed)
    for row in rows:
        interval = "" if row["ci95"] is None else f" ± {row['ci95']:.3f}"
        print(f"{row['metric']:<48}{row['mean']:.3f}{interval}")
    if args.out:
        about = {"dataset": Path(args.folder).name, "images": len(labels), "classes": len(by_class)}
        about |= {"encoder": classifier.encoder.source, "modes": args.modes, "none_share": args.none_share}
        write_text(args.out, json.dumps(origin() | about | {"seed": args.seed, "results": rows}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
