"""The options of commands that learn classes from images, and the classifier that they name."""

import argparse
import math
import time
from collections.abc import Callable
from pathlib import Path

from repmet.classification.classifying import ClassifiesImages
from repmet.classification.learnt_images import read_classes
from repmet.classification.tuning import estimate
from repmet.errors import UserError
from repmet.experiments.running.processes import say
from repmet.wording import counted


def add_learning(parser: argparse.ArgumentParser) -> None:
    """Adds the encoder, the support set, and how it is learnt."""
    parser.add_argument(
        "encoder",
        nargs="?",
        metavar="ENCODER",
        help="a checkpoint of the classification tree (file, run folder or address), or the name of a model of torchvision "
        "or timm, for `repmet classify` also a folder that `repmet export --classifier` wrote (default: a frozen "
        "EfficientNet-Lite0 with ImageNet weights)",
    )
    parser.add_argument("--support", required=True, metavar="DIR|FILE", help="what shows the classes, or what --save wrote")
    parser.add_argument(
        "--modes",
        type=_modes,
        metavar="K|all",
        help="representatives of a class: 1, the mean (default); K, by k-means; all, each image",
    )
    parser.add_argument(
        "--tune",
        type=_seconds,
        nargs="?",
        const=60.0,
        metavar="SECONDS",
        help="train on the support images' embeddings, a minute at most or so many seconds, as far as images that are left "
        "out are the better told apart for it",
    )
    parser.add_argument(
        "--size", type=int, metavar="PIXELS", help="side that images are brought to (default: as the encoder)"
    )
    parser.add_argument("--batch-size", type=int, default=8, metavar="B", help="images at once (default: 8)")


def in_torch(args: argparse.Namespace, modes: int | str | None) -> ClassifiesImages:
    """The classifier of an encoder in torch, with nothing learnt."""
    from repmet.classification.few_shot_classifier import FewShotClassifier  # here: an exported one comes this way too

    source, size, support = args.encoder, args.size, Path(args.support).expanduser()
    if source is None and _is_learnt(support):
        _, encoder = read_classes(support)
        source, size = encoder["source"], size or encoder["size"][0]
    return FewShotClassifier(source, modes=modes, size=size, batch_size=args.batch_size)


Opened = Callable[[argparse.Namespace, "int | str | None"], ClassifiesImages]


def open_classifier(args: argparse.Namespace, opened: Opened = in_torch) -> ClassifiesImages:
    """The classifier of `add_learning`'s options, which has learnt their classes and is tuned where they say so.

    Args:
        opened: gives the classifier of some options and modes, of here or of `repmet.runtime`.

    Raises:
        ValueError, FileNotFoundError, ConnectionError, ImportError: as `FewShotClassifier` and its `learn` and `load`.
    """
    classifier = _learnt(args, opened)
    if args.tune is not None:
        _tune(classifier, args.tune)
    return classifier


def _learnt(args: argparse.Namespace, opened: Opened) -> ClassifiesImages:
    support = Path(args.support).expanduser()
    if _is_learnt(support):
        if args.modes is not None:
            raise UserError(f"--modes says how classes are learnt; those of {support} are learnt already")
        return opened(args, 1).load(support)
    several = getattr(args, "several", False)  # an option of those that answer; a set's confusions need a single class
    return opened(args, 1 if args.modes is None else args.modes).learn(support, several=several)


def _is_learnt(support: Path) -> bool:
    """Whether a support is a file that --save wrote."""
    return support.is_file() and support.suffix.lower() != ".csv"


def _tune(classifier: ClassifiesImages, seconds: float) -> None:
    """Trains, and says by which images it is better for it."""
    start, before = time.monotonic(), estimate(classifier.learnt)
    after = estimate(classifier.tune(seconds).learnt)
    if before is None or after is None:
        say("not tuned: no class has two images, and so none to leave out")
        return
    took = time.monotonic() - start
    right, loss = ([getattr(e, key) for e in (before, after)] for key in ("accuracy", "loss"))
    say(
        f"tuned in {took:.0f} s, by {counted(after.number, 'image')} that were left out in turn: "
        f"right {100 * right[0]:.1f} -> {100 * right[1]:.1f} %, -ln p {loss[0]:.2f} -> {loss[1]:.2f}"
    )


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"a number of seconds above 0, not {text!r}")
    return seconds


def _modes(text: str) -> int | str:
    if text == "all":
        return text
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a number from 1, or all, not {text!r}")
    return int(text)
