"""Pictures of an embedding and of what it confuses; every function writes one PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from repmet.classification.inputs.dataset import ImageSet
from repmet.classification.metrics.episodes import Episodes
from repmet.data.files.decoding import decode_batch
from repmet.data.files.lettering import legible
from repmet.data.files.saved_pictures import save_plot
from repmet.model_definitions.representatives import squared_distances

RIGHT, WRONG = "#2a8a3e", "#c0392b"
POINTS = 1500  # at most, in a plot
COLOURS = 20


def pixels(images: ImageSet, indices: Sequence[int]) -> np.ndarray:
    """Images as they are stored, (B, H, W) grey or (B, H, W, 3), uint8."""
    chosen = list(map(int, indices))
    if images.images is not None:
        batch = images.images[chosen]
    else:
        batch = decode_batch([images.paths[i] for i in chosen], images.size)
    batch = batch.permute(0, 2, 3, 1).numpy()
    return batch[..., 0] if batch.shape[-1] == 1 else batch


def embedding_plot(out: Path, embeddings: Tensor, labels: Tensor, classes: Sequence[str], points: Tensor) -> None:
    """The embedding in two dimensions, by PCA and by t-SNE, with the representatives among the images.

    By PCA, which is a projection, a circle shows a representative's reach: the root mean square distance, in the plane, of
    the images of its class that are nearer to it than to the class's others. t-SNE keeps neighbours and no distances.

    Args:
        embeddings: (n, e). labels: (n,). classes: N names. points: (N, K, e), the representatives.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    shown = _some_classes(labels, len(classes))
    chosen = torch.isin(labels, shown).nonzero().flatten()
    chosen = chosen[torch.linspace(0, len(chosen) - 1, min(POINTS, len(chosen))).long()]
    x, y = embeddings[chosen].numpy(), labels[chosen].numpy()
    k = points.shape[1]
    stars, owners = points[shown].flatten(0, 1).numpy(), shown.repeat_interleave(k).numpy()
    both = np.concatenate([x, stars])
    flat = PCA(2).fit(x).transform(both)
    near = TSNE(2, perplexity=min(30, (len(both) - 1) / 3), init="pca", random_state=0).fit_transform(both)
    figure, axes = _figure(1, 2, (13, 6.6))
    for axis, plane, title in zip(axes, (flat, near), ("PCA", "t-SNE"), strict=True):
        for colour, c in enumerate(shown.tolist()):
            of_class = y == c
            style = {"color": f"C{colour % 10}", "marker": "o" if colour < 10 else "^"}
            axis.scatter(*plane[: len(x)][of_class].T, s=9, alpha=0.55, linewidths=0, label=classes[c], **style)
            axis.scatter(*plane[len(x) :][owners == c].T, s=170, marker="*", color=style["color"], edgecolors="black")
            if title == "PCA":
                _reaches(
                    axis,
                    plane[: len(x)][of_class],
                    x[of_class],
                    plane[len(x) :][owners == c],
                    stars[owners == c],
                    style["color"],
                )
        axis.set(title=title, xticks=[], yticks=[])
        axis.set_aspect("equal", adjustable="datalim")
    figure.suptitle(
        f"{len(x)} images of {len(shown)} of {len(classes)} classes; stars: representatives, circles: their reach in it"
    )
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=7, fontsize=7)
    save_plot(figure, out)


def confusion_plot(out: Path, counts: Tensor, classes: Sequence[str], limit: int = 40) -> None:
    """The confusion matrix, rows the true classes, in fractions of a row; of many classes those with the most errors.

    Args:
        counts: (N, N), images of class i that were taken for class j.
    """
    errors = counts.clone().fill_diagonal_(0)
    involved = errors.sum(0) + errors.sum(1)
    shown = involved.argsort(descending=True, stable=True)[:limit].sort().values
    part = counts[shown][:, shown].double()
    fractions = part / counts[shown].sum(1, keepdim=True).clamp_min(1)
    side = 3.2 + 0.22 * len(shown)
    figure, axis = _figure(1, 1, (side + 0.8, side))
    drawn = axis.imshow(fractions.numpy(), cmap="magma_r", vmin=0, vmax=1)
    names = [_short(classes[c], 22) for c in shown.tolist()]
    axis.set_xticks(range(len(names)), names, rotation=90, fontsize=7)
    axis.set_yticks(range(len(names)), names, fontsize=7)
    which = "" if len(shown) == len(classes) else f", the {len(shown)} of {len(classes)} classes with the most errors"
    axis.set(xlabel="taken for", ylabel="true class", title=f"fraction of a class's images{which}")
    figure.colorbar(drawn, shrink=0.7)
    save_plot(figure, out)


def pairs_plot(
    out: Path, pairs: Sequence[tuple[int, int, int]], examples: Sequence[Sequence[int]], images: ImageSet, each: int = 5
) -> None:
    """A row for each confused pair: images of the one class that were taken for the other, beside images of that other.

    Args:
        pairs: as `most_confused` gives them. examples: for each, the indices of the images that were mistaken.
    """
    figure, axes = _figure(len(pairs), 2 * each, (1.15 * 2 * each, 1.5 * len(pairs)), squeeze=False)
    for row, (true, other, number), mistaken in zip(axes, pairs, examples, strict=True):
        typical = (images.labels == other).nonzero().flatten()[:each].tolist()
        for k, axis in enumerate(row):
            axis.axis("off")
            indices = mistaken[:each] if k < each else typical
            if k % each < len(indices):
                _show(axis, pixels(images, [indices[k % each]])[0], WRONG if k < each else RIGHT)
        row[0].set_title(f"{_short(images.classes[true], 40)}, {number} x taken for", loc="left", fontsize=8)
        row[each].set_title(_short(images.classes[other], 40), loc="left", fontsize=8)
    save_plot(figure, out)


def episode_plot(
    out: Path, episodes: Episodes, number: int, predicted: Tensor, images: ImageSet, accuracy: float, queries: int = 8
) -> None:
    """One episode as a person would lay it out: a row a class, its support on the left, its queries on the right.

    A query's frame is green where it was put to its class; else it is red, with the name that it was given.

    Args:
        predicted: (way, Q), positions of classes in the episode. queries: shown of each class, at most.
    """
    support, query = episodes.support[number], episodes.query[number]
    shown, shots = min(queries, query.shape[1]), min(5, support.shape[1])
    names = [images.classes[c] for c in episodes.classes[number].tolist()]
    columns = shots + 1 + shown
    figure, axes = _figure(len(names), columns, (1.05 * columns + 0.4, 1.35 * len(names) + 0.6), squeeze=False)
    for c, row in enumerate(axes):
        for axis in row:
            axis.axis("off")
        for axis, picture in zip(row, pixels(images, support[c, :shots]), strict=False):
            _show(axis, picture, "#34495e")
        for axis, picture, answer in zip(row[shots + 1 :], pixels(images, query[c, :shown]), predicted[c], strict=False):
            _show(axis, picture, RIGHT if answer == c else WRONG)
            if answer != c:
                axis.set_title(_short(names[int(answer)], 16), fontsize=6, color=WRONG, pad=2)
        row[0].set_title(_short(names[c], 34), fontsize=8, loc="left")
    figure.suptitle(
        f"episode {number}, {len(names)}-way {support.shape[1]}-shot: {100 * accuracy:.0f} % of its queries right; "
        "left support, right queries"
    )
    save_plot(figure, out)


def _reaches(axis: Any, plane: np.ndarray, x: np.ndarray, centres: np.ndarray, stars: np.ndarray, colour: str) -> None:
    from matplotlib.patches import Circle

    nearest = squared_distances(torch.from_numpy(x), torch.from_numpy(stars)[:, None])[..., 0].argmin(1).numpy()
    for k, centre in enumerate(centres):
        if (nearest == k).any():
            radius = np.sqrt(np.square(plane[nearest == k] - centre).sum(1).mean())
            axis.add_patch(Circle(centre, radius, fill=False, color=colour, alpha=0.7, linewidth=1))


def _some_classes(labels: Tensor, number: int) -> Tensor:
    """At most `COLOURS` classes that have images, evenly spread."""
    there = torch.unique(labels)
    return there[torch.linspace(0, len(there) - 1, min(COLOURS, len(there))).long()]


def _figure(rows: int, columns: int, size: tuple[float, float], squeeze: bool = True) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=squeeze)


def _show(axis: Any, picture: np.ndarray, colour: str) -> None:
    axis.axis("on")
    axis.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axis.set(xticks=[], yticks=[])
    for spine in axis.spines.values():
        spine.set(color=colour, linewidth=2)


def _short(name: str, length: int) -> str:
    name = legible(name)
    return name if len(name) <= length else "…" + name[1 - length :]
