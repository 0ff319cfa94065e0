"""The page of pictures that an evaluation leaves: index.html, and the pictures beside it."""

import html
from pathlib import Path

import torch
from torch import Tensor

from repmet.classification.metrics.accuracies import predictions
from repmet.classification.metrics.confusion import confusion, most_confused
from repmet.classification.metrics.episodes import episode_predictions
from repmet.classification.pictures import pictures
from repmet.classification.protocols.evaluation import Evaluation
from repmet.classification.protocols.report import percent
from repmet.data.files.atomic import write_text

PAIRS = 8
EXPLAINED = {
    "embedding.png": "The embedding in two dimensions",
    "confusion.png": "What was taken for what",
    "pairs.png": "The most confused pairs: the mistaken images on the left, images of the class that they were taken for on "
    "the right",
    "episode.png": "An episode of middling accuracy",
    "episode_worst.png": "The worst episode",
}


def write_page(result: Evaluation, folder: Path) -> Path:
    """Draws everything and writes `index.html` into the folder; returns its path."""
    images, classes = result.images, result.images.classes
    folder.mkdir(parents=True, exist_ok=True)
    pictures.embedding_plot(
        folder / "embedding.png", result.embeddings, images.labels, classes, result.representatives.points.cpu()
    )
    true, predicted, indices = decisions(result)
    counts = confusion(true, predicted, len(classes))
    pictures.confusion_plot(folder / "confusion.png", counts, classes)
    pairs = most_confused(counts, PAIRS)
    if pairs:
        examples = [indices[(true == a) & (predicted == b)].unique().tolist() for a, b, _ in pairs]
        pictures.pairs_plot(folder / "pairs.png", pairs, examples, images)
    if result.episodes:
        _episodes(result, folder)
    return _index(result, folder)


def decisions(result: Evaluation) -> tuple[Tensor, Tensor, Tensor]:
    """Every decision: true class, predicted class, index of the image, each (m,).

    With the training's classes one for each image, by the method's rule; else one for each query of all episodes (those
    of the first shot).
    """
    labels = result.images.labels
    if result.closed:
        representatives = result.representatives
        rules = predictions(
            result.embeddings, representatives.points.cpu(), representatives.sigma2, present=representatives.present
        )
        return labels, rules[result.trained.method.rule], torch.arange(len(labels))
    episodes = next(iter(result.episodes.values()))
    predicted_columns = episode_predictions(
        result.embeddings, episodes, distance=result.trained.method.distance
    )  # (E, way, Q)
    predicted = episodes.classes.long().gather(1, predicted_columns.flatten(1))  # (E, way * Q)
    indices = episodes.query.long().flatten()
    return labels[indices], predicted.flatten(), indices


def _episodes(result: Evaluation, folder: Path) -> None:
    metric, episodes = next(iter(result.episodes.items()))
    accuracies = result.accuracies[metric]
    order = accuracies.argsort(stable=True)
    predicted = episode_predictions(result.embeddings, episodes, distance=result.trained.method.distance)
    for name, number in (("episode.png", int(order[len(order) // 2])), ("episode_worst.png", int(order[0]))):
        accuracy = accuracies[number].item()
        pictures.episode_plot(folder / name, episodes, number, predicted[number], result.images, accuracy)


def _index(result: Evaluation, folder: Path) -> Path:
    head = "".join(f"<th>{name}</th>" for name in ("data", "split", "method", "metric", "%", "n"))
    body = "".join(
        "<tr>"
        + "".join(f"<td>{html.escape(str(row[key]))}</td>" for key in ("dataset", "split", "method", "metric"))
        + f"<td>{percent(row['mean'], row['ci95'])}</td><td>{row['n']:,}</td></tr>"
        for row in result.rows
    )
    shown = "".join(
        f'<h2>{html.escape(text)}</h2><img src="{name}" alt="{html.escape(text)}">'
        for name, text in EXPLAINED.items()
        if (folder / name).is_file()
    )
    title = html.escape(result.trained.name)
    path = folder / "index.html"
    write_text(
        path,
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>"
        "<style>body{font:15px sans-serif;margin:2em} img{max-width:100%}"
        "td,th{text-align:left;padding:2px 14px 2px 0}</style>"
        f"<h1>{title}</h1><table><tr>{head}</tr>{body}</table>{shown}</html>\n",
    )
    return path
