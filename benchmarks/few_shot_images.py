"""How good the classifier of `repmet classify` is on folders of images: accuracy, calibration, and what it calls unknown.

    python -m benchmarks.few_shot_images flowers17 caltech101 --out few_shot_images.json
    python -m benchmarks.few_shot_images caltech101 --encoder resnet18 --way 20 --shot 1 5

Every image is embedded once. An episode draws classes and a support set, and asks about other images of these classes and
about images of as many others, which are of none. Figures: accuracy; the loss, -ln p, and the expected calibration error
(Naeini et al. 2015, 15 bins of equal width) of the probabilities; the area under the ROC curve of the strangeness, by which
unknown images are told; the share of known and of unknown images that `none_share` refuses. The head is measured as it is
learnt, or with `--heads plain tuned` also as `--tune` leaves it.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from repmet.benchmarks.embedded_folders import embedded
from repmet.classification.few_shot_classifier import FewShotClassifier
from repmet.classification.held_out import strangeness
from repmet.classification.learnt_images import LearntImages
from repmet.classification.tuning import tuned
from repmet.data.files.atomic import write_text
from repmet.errors import UserError
from repmet.experiments.reporting.intervals import mean_interval
from repmet.experiments.running.provenance import origin
from repmet.model_definitions.representatives import soft_posterior

BINS = 15
HEADS = ("plain", "tuned")
QUERIES = 5  # of a class, at most


@dataclass(frozen=True)
class Settings:
    """Of an episode; `head` is one of HEADS."""

    way: int
    shot: int
    modes: int | None
    none_share: float
    head: str = "plain"


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
    embeddings: Tensor, labels: Tensor, settings: Settings, generator: torch.Generator
) -> tuple[dict[str, float], np.ndarray, np.ndarray]:
    """The figures of one episode, its probabilities (Q, way) and their true classes (Q,).

    Args:
        embeddings: (n, e). labels: (n,).
    """
    way, shot = settings.way, settings.shot
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
    names = tuple(map(str, range(way)))
    shown, shown_labels = embeddings[torch.cat(support)].numpy(), numbers.repeat_interleave(shot).numpy()
    learnt = LearntImages.bare(names, shown, shown_labels, settings.modes)
    if settings.head == "tuned":
        learnt = tuned(learnt)
    truth = torch.cat([numbers[i].repeat(len(q)) for i, q in enumerate(queries)])
    d2 = learnt.head.distances(embeddings[torch.cat(queries)].numpy())  # (Q, way, K)
    probabilities = soft_posterior(torch.from_numpy(d2), learnt.sigma)
    near, far = (strangeness(x) for x in (d2, learnt.head.distances(embeddings[strangers].numpy())))
    figures = {
        "accuracy": (probabilities.argmax(1) == truth).float().mean().item(),
        "loss": -probabilities[torch.arange(len(truth)), truth].log().mean().item(),
        "auroc": float(roc_auc_score([0] * len(near) + [1] * len(far), np.concatenate([near, far]))),
    }
    if sum(len(part.labels) for part in learnt.held_out) >= 1 / settings.none_share - 1:
        strangest = learnt.strangest(settings.none_share)
        figures |= {"known_refused": float((near > strangest).mean()), "unknown_refused": float((far > strangest).mean())}
    return figures, probabilities.numpy(), truth.numpy()


def measure(
    embeddings: Tensor, labels: Tensor, settings: Settings, episodes: int, seed: int
) -> dict[str, dict[str, object]]:
    """Figures with intervals over episodes; the calibration error is of all episodes' answers together."""
    generator = torch.Generator().manual_seed(seed)
    results = [episode(embeddings, labels, settings, generator) for _ in range(episodes)]
    figures = {name: mean_interval([of[name] for of, _, _ in results]).as_json() for name in results[0][0]}
    error = calibration_error(np.concatenate([p for _, p, _ in results]), np.concatenate([y for _, _, y in results]))
    return figures | {"ece": {"mean": error, "ci95": None, "n": episodes}}


def rows_of(folder: str, args: argparse.Namespace, classifier: FewShotClassifier) -> list[dict[str, object]]:
    """A row a head and number of shots."""
    needed = max(args.shot) + 1
    embeddings, labels = embedded(folder, classifier, minimum=needed)
    there = len(labels.unique())
    if there < 2 * args.way:
        raise UserError(f"{folder}: {2 * args.way} classes of {needed} images are needed, {there} are there")
    rows = []
    for shot in args.shot:
        for head in args.heads:
            settings = Settings(args.way, shot, args.modes or None, args.none_share, head)
            about = {"set": Path(folder).name, "head": head, "way": args.way, "shot": shot}
            rows.append(about | measure(embeddings, labels, settings, args.episodes, args.seed))
            said = " ".join(f"{name} {100 * figure['mean']:.1f}" for name, figure in rows[-1].items() if name not in about)
            print(" ".join(map(str, about.values())), said, flush=True)
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.few_shot_images",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folders", nargs="+", metavar="FOLDER", help="of class folders, as named or in REPMET_DATA")
    parser.add_argument("--heads", nargs="+", choices=HEADS, default=HEADS[:1], help="as learnt (default), tuned")
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
        classifier = FewShotClassifier(args.encoder)
        rows = [row for folder in args.folders for row in rows_of(folder, args, classifier)]
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if args.out:
        about = {"protocol": "few-shot images", "encoder": classifier.encoder.source, "modes": args.modes}
        about |= {"none_share": args.none_share, "episodes": args.episodes, "seed": args.seed}
        write_text(args.out, json.dumps(origin() | about | {"rows": rows}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
