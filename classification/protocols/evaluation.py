"""The figures of a trained method: accuracies over whole sets, and episodes over embeddings made once."""

from dataclasses import dataclass, field
from typing import Any

import torch
from mmengine.registry import DATASETS
from torch import Tensor

from repmet.classification.checkpoint import Trained, check_known, differing
from repmet.classification.experiment import arguments_of, image_set
from repmet.classification.hooks.validation import other_predictions, set_figures
from repmet.classification.inputs.dataset import ImageSet
from repmet.classification.inputs.groups import class_groups
from repmet.classification.methods.base import ClassRepresentatives
from repmet.classification.metrics.accuracies import predictions
from repmet.classification.metrics.episodes import Episodes, episode_accuracies, sample_episodes
from repmet.classification.protocols.embedding import embed_split, embed_views, mean_representatives
from repmet.classification.protocols.lake import check_unseen, one_shot_row
from repmet.classification.protocols.rows import row_of
from repmet.errors import UserError
from repmet.experiments.reporting.intervals import Estimate, mean_interval, paired_difference
from repmet.experiments.reporting.rows import episode_metric


@dataclass
class Evaluation:
    """What was measured, and what it was measured on.

    images: the test set. embeddings: (n, e) of it. rows: results. episodes: by metric, the episodes. accuracies: by metric
    (E,), their accuracies. representatives: of the test set's classes; the class means of the test set where it has others
    than the training.
    """

    trained: Trained
    images: ImageSet
    embeddings: Tensor
    closed: bool
    representatives: ClassRepresentatives
    rows: list[dict[str, Any]] = field(default_factory=list)
    episodes: dict[str, Episodes] = field(default_factory=dict)
    accuracies: dict[str, Tensor] = field(default_factory=dict)


def shots_of(protocol: dict[str, Any]) -> list[int]:
    return [protocol["shot"]] if isinstance(protocol["shot"], int) else list(protocol["shot"])


def evaluate(trained: Trained, part: str = "test", *, unsupervised: bool = True) -> Evaluation:
    """Measures a method on the experiment's test set (or another part, "val").

    A set of the training's classes: simple, magnet, repmet and unsupervised accuracy over all images of the training set
    and of the test set. A section `episodes`: its episodes.

    Raises:
        ValueError: the classes are others than the training's and there is no section `episodes`; the episodes need more
            classes or images than there are.
    """
    cfg = trained.cfg
    images = DATASETS.build(image_set(cfg, part, "test_pipeline"))
    others = differing(trained, images.classes, f"data.{part}")
    closed = others is None
    protocol = cfg.get("episodes")
    if protocol and protocol.get("one_shot_runs"):
        check_unseen(trained)
    if not closed and not protocol:
        raise UserError(f"{others}; there is no section `episodes`: nothing to evaluate")
    drawn = draw_episodes(images, dict(protocol)) if protocol else {}  # before the network runs: it may refuse
    embeddings = embed_views(trained.method, images, (protocol or {}).get("views"))
    representatives = trained.method.class_representatives() if closed else None
    train = DATASETS.build(image_set(cfg, "train", "test_pipeline")) if closed else images
    if closed:
        check_known(trained, train.classes, "data.train")
    learnt = embed_split(trained.method, train) if closed else embeddings
    if representatives is None:
        representatives = mean_representatives(learnt, train.labels, len(images.classes))
    result = Evaluation(trained, images, embeddings, closed, representatives)
    for metric, episodes in drawn.items():
        accuracies = episode_accuracies(embeddings, episodes, distance=trained.method.distance)
        result.episodes[metric], result.accuracies[metric] = episodes, accuracies
        result.rows.append(row_of(trained, part, metric, mean_interval(accuracies)))
    if protocol and protocol.get("one_shot_runs"):
        result.rows.append(one_shot_row(trained))
    if closed:
        assignment = "hungarian" if unsupervised else None
        for name, of_part, labels in (("train", learnt, train.labels), (part, embeddings, images.labels)):
            for rule, accuracy in set_figures(trained.method, of_part, labels, representatives, assignment).items():
                result.rows.append(row_of(trained, name, f"{rule} accuracy", _over_images(accuracy, len(labels))))
    return result


def draw_episodes(images: ImageSet, protocol: dict[str, Any]) -> dict[str, Episodes]:
    """By metric the episodes of a section `episodes`, one entry a shot.

    Raises:
        ValueError: a number is missing, or there are too few classes or images.
    """
    missing = [key for key in ("way", "shot", "query", "episodes", "seed") if protocol.get(key) is None]
    if missing:
        raise UserError(f"episodes.{missing[0]} is not given: an evaluation by episodes needs it")
    groups = class_groups(images.classes) if protocol.get("within_groups") else None
    return {
        episode_metric(protocol["way"], shot): sample_episodes(
            images.labels, protocol["way"], shot, protocol["query"], protocol["episodes"], protocol["seed"], groups
        )
        for shot in shots_of(protocol)
    }


def compare(first: Evaluation, other: Trained) -> list[dict[str, Any]]:
    """Paired differences of a method's accuracies to another's: on the same episodes, and over the same whole set, image by
    image, by every rule that decides single images.

    Returns:
        By metric {metric, against, mean, ci95, n, episodes}: mean of `first - other` as a fraction, with its interval over n
        episodes or images; `episodes` is their hash, None where the metric is over images.

    Raises:
        ValueError: the two trainings drew their splits by different seeds.
    """
    seeds = [arguments_of(trained.cfg).get("seed") for trained in (first.trained, other)]
    if seeds[0] != seeds[1]:
        raise UserError(
            f"{first.trained.name} and {other.name} drew their splits by the seeds {seeds[0]} and {seeds[1]}: what one was "
            "trained on, the other would be tested on"
        )
    embeddings = embed_views(other.method, first.images, (first.trained.cfg.get("episodes") or {}).get("views"))
    pairs: list[tuple[str, Tensor, Tensor, str | None]] = []
    for metric, episodes in first.episodes.items():
        theirs = episode_accuracies(embeddings, episodes, distance=other.method.distance)
        pairs.append((metric, first.accuracies[metric], theirs, episodes.hash))
    if first.closed:
        check_known(other, first.images.classes, f"data of {first.trained.name}")
        mine = right_images(first.trained, first.embeddings, first.representatives, first.images.labels)
        theirs = right_images(other, embeddings, trained_representatives(other), first.images.labels)
        pairs += [(f"{rule} accuracy", right, theirs[rule], None) for rule, right in mine.items()]
    rows = []
    for metric, mine, theirs, drawn in pairs:
        difference = paired_difference(mine, theirs).as_json()
        rows.append({"metric": metric, "against": other.name, **difference, "episodes": drawn})
    return rows


def trained_representatives(trained: Trained) -> ClassRepresentatives:
    """The representatives of the training set's classes: the method's, else the means of their embeddings."""
    representatives = trained.method.class_representatives()
    if representatives is not None:
        return representatives
    train = DATASETS.build(image_set(trained.cfg, "train", "test_pipeline"))
    check_known(trained, train.classes, "data.train")
    return mean_representatives(embed_split(trained.method, train), train.labels, len(train.classes))


@torch.no_grad()
def right_images(
    trained: Trained, embeddings: Tensor, representatives: ClassRepresentatives, labels: Tensor
) -> dict[str, Tensor]:
    """By rule (n,) whether an image's class is predicted: simple, magnet, repmet and the method's other rules."""
    predicted_by = predictions(
        embeddings, representatives.points.cpu(), representatives.sigma2, present=representatives.present
    )
    predicted_by |= other_predictions(trained.method, embeddings)
    return {rule: predicted == labels for rule, predicted in predicted_by.items()}


def _over_images(accuracy: float, n: int) -> Estimate:
    """The interval of a fraction of right images."""
    return mean_interval(torch.arange(n) < round(accuracy * n))
