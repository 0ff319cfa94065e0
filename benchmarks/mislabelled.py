"""How well `repmet explain` ranks wrong labels: some are drawn wrong, and should come first.

    python -m benchmarks.mislabelled flowers17 caltech101 cars196_crops --out mislabelled.json

Of each class the same number of images is drawn, and a share of all images gets the label of another class at random. Every
image is judged by the others, those with wrong labels among them. Figures over the draws: the area under the ROC curve of
the probability of the class that an image is said to be of, wrong labels against right ones; of as many images as have
wrong labels, the least probable first, the share that has one (precision and recall are the same there).
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from repmet.benchmarks.embedded_folders import embedded
from repmet.classification.array_head import Floats, Labels, soft_log_posterior
from repmet.classification.few_shot_classifier import FewShotClassifier
from repmet.classification.learnt_images import LearntImages
from repmet.data.files.atomic import write_json
from repmet.errors import UserError, exit_code
from repmet.experiments.reporting.intervals import mean_interval
from repmet.experiments.running.provenance import origin


def draw(labels: Labels, images: int, share: float, rng: np.random.Generator) -> tuple[Labels, Labels]:
    """Indices of so many images of each class, and their labels, a share of which is another class's."""
    classes = int(labels.max()) + 1
    chosen = np.concatenate([rng.permutation(np.flatnonzero(labels == c))[:images] for c in range(classes)])
    said = labels[chosen].copy()
    wrong = rng.permutation(len(said))[: max(1, round(share * len(said)))]
    said[wrong] = (said[wrong] + rng.integers(1, classes, len(wrong))) % classes
    return chosen, said


def figures(embeddings: Floats, truth: Labels, said: Labels) -> tuple[float, float]:
    """The area under the curve, and the share of wrong labels among the first.

    Args:
        embeddings: (S, e). truth, said: (S,).
    """
    classes = tuple(map(str, range(int(truth.max()) + 1)))
    learnt = LearntImages.bare(classes, embeddings, said, 1)
    indices = np.concatenate([part.indices for part in learnt.held_out])
    likely = np.concatenate(
        [soft_log_posterior(part.d2, learnt.sigma)[np.arange(len(part.labels)), part.labels] for part in learnt.held_out]
    )
    wrong = said[indices] != truth[indices]
    return float(roc_auc_score(wrong, -likely)), float(wrong[likely.argsort(kind="stable")[: wrong.sum()]].mean())


def row_of(folder: str, args: argparse.Namespace, classifier: FewShotClassifier) -> dict[str, object]:
    embeddings, labels = (x.numpy() for x in embedded(folder, classifier, minimum=args.images))
    if not len(labels):
        raise UserError(f"{folder}: no class has {args.images} images")
    results = []
    for seed in range(args.draws):
        chosen, said = draw(labels, args.images, args.share, np.random.default_rng(seed))
        results.append(figures(embeddings[chosen], labels[chosen], said))
    auroc, precision = (mean_interval(values).as_json() for values in zip(*results, strict=True))
    about = {"set": Path(folder).name, "images": args.images, "share": args.share, "draws": args.draws}
    print(
        f"{about['set']}: AUROC {100 * auroc['mean']:.1f} %, wrong of the first {100 * precision['mean']:.1f} %", flush=True
    )
    return about | {"auroc": auroc, "precision": precision}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.mislabelled", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="+", metavar="FOLDER", help="of class folders, as named or in REPMET_DATA")
    parser.add_argument("--encoder", help="as `repmet classify` takes it (default: a frozen EfficientNet-Lite0)")
    parser.add_argument("--images", type=int, default=10, metavar="N", help="of a class (10)")
    parser.add_argument("--share", type=float, default=0.05, metavar="S", help="of labels that are wrong (0.05)")
    parser.add_argument("--draws", type=int, default=20, metavar="N")
    parser.add_argument("--out", type=Path, metavar="FILE")
    args = parser.parse_args(argv)

    def command() -> None:
        classifier = FewShotClassifier(args.encoder)
        rows = [row_of(folder, args, classifier) for folder in args.folders]
        if args.out:
            write_json(args.out, origin() | {"protocol": "mislabelled", "rows": rows})

    return exit_code(command)


if __name__ == "__main__":
    sys.exit(main())
