"""Figures of an embedding that is retrieved in itself, by the names that experiments and commands have for them."""

from collections.abc import Sequence

from torch import Tensor

from repmet.classification.metrics.clusterings import cluster_figures
from repmet.classification.metrics.embedding_statistics import class_distances, norm_quantile, spectrum_divergence
from repmet.classification.metrics.neighbour_classifiers import halves_svm_accuracy, knn_accuracy
from repmet.classification.metrics.neighbour_distribution import neighbour_distribution_figures
from repmet.classification.metrics.retrieval import retrieve
from repmet.classification.metrics.uncertainty import SCORES, uncertainty_figures
from repmet.errors import UserError

DEFAULT_FIGURES = ("recall@1", "recall@2", "recall@4", "recall@8", "R-precision", "MAP@R")
_RETRIEVED = ("R-precision", "MAP@R", "mAP")
_CLUSTERED = ("NMI", "F1")
_SPREAD = ("intra-class distance", "inter-class distance", "intra/inter")
_NED = ("NED accuracy", "NED loss")
_CERTAINTY = tuple(f"{figure} by {score}" for figure in ("AUROC", "AURC") for score in SCORES)
_LESS = (
    *(name for name in _CERTAINTY if name.startswith("AURC")),
    "intra-class distance",
    "intra/inter",
    "spectrum",
    "NED loss",
)
KNOWN = ("recall@K", *_RETRIEVED, "kNN@K", "SVM", *_CLUSTERED, *_CERTAINTY, *_NED, *_SPREAD, "spectrum", "norm@PERCENT")
_BY_COSINE = (*_CERTAINTY, *_NED)  # have no Euclidean form


def retrieval_figures(embeddings: Tensor, labels: Tensor, names: Sequence[str] = DEFAULT_FIGURES) -> dict[str, float]:
    """Figures of a set that is retrieved in itself, by name.

    Args:
        embeddings: (n, e), labels: (n,).
        names: of `KNOWN`, by cosine; with `Euclidean ` before them by distance, but for what is about certainty and
            neighbour distributions. `norm@50` is the median norm, `kNN@5` the accuracy of five neighbours' majority, and
            `SVM` that of a linear machine which is trained on every other image of each class.

    Raises:
        ValueError: a name that is none of these; what `retrieve` refuses.
    """
    figures: dict[str, float] = {}
    for metric, prefix in (("cosine", ""), ("euclidean", "Euclidean ")):
        wanted = [n.removeprefix("Euclidean ") for n in names if n.startswith("Euclidean ") == (metric == "euclidean")]
        for name in wanted:
            if not _known(name, metric):
                raise UserError(f"no figure {prefix + name!r}; there are: {', '.join(KNOWN)}")
        made = _made(embeddings, labels, wanted, metric) if wanted else {}
        figures |= {prefix + n: made[n] for n in wanted}
    return {name: figures[name] for name in names}


def lower_is_better(name: str) -> bool:
    """Whether the least value of a figure is its best."""
    return name.removeprefix("Euclidean ") in _LESS


def is_about_certainty(name: str) -> bool:
    """Whether a figure says how well a score tells right retrievals from wrong ones."""
    return name in _CERTAINTY


def is_fraction(name: str) -> bool:
    """Whether a figure lies in 0..1; the others are distances, norms and nats."""
    return name.removeprefix("Euclidean ").partition("@")[0] not in (*_SPREAD, "spectrum", "NED loss", "norm")


def _known(name: str, metric: str) -> bool:
    family, at, number = name.partition("@")
    if at and name not in KNOWN:
        return (family in ("recall", "kNN") and number.isdigit()) or (family == "norm" and _is_number(number))
    return name in KNOWN and not name.endswith(("@K", "@PERCENT")) and (metric == "cosine" or name not in _BY_COSINE)


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdigit()


def _made(embeddings: Tensor, labels: Tensor, wanted: Sequence[str], metric: str) -> dict[str, float]:
    """At least the named figures; costly ones are computed only if they are named."""
    made: dict[str, float] = {}
    ks = [int(n.partition("@")[2]) for n in wanted if n.startswith("recall@")]
    if ks or set(wanted) & {*_RETRIEVED, *_CERTAINTY}:
        retrieved = retrieve(embeddings, labels, metric=metric, recall_at=ks or [1], whole_ranking="mAP" in wanted)
        made |= retrieved.means()
        if set(wanted) & set(_CERTAINTY):
            made |= uncertainty_figures(retrieved, embeddings)
    if set(wanted) & set(_CLUSTERED):
        made |= cluster_figures(embeddings, labels, metric=metric)
    if set(wanted) & set(_NED):
        made |= neighbour_distribution_figures(embeddings, labels)
    if set(wanted) & set(_SPREAD):
        made |= class_distances(embeddings, labels, metric=metric)
    if "spectrum" in wanted:
        made["spectrum"] = spectrum_divergence(embeddings, metric=metric)
    if "SVM" in wanted:
        made["SVM"] = halves_svm_accuracy(embeddings, labels, normalize=metric == "cosine")
    for name in wanted:
        family, _, number = name.partition("@")
        if family == "kNN":
            made[name] = knn_accuracy(embeddings, labels, k=int(number), metric=metric)
        elif family == "norm":
            made[name] = norm_quantile(embeddings, float(number))
    return made
