"""The protocol "own data" in changed RoI features: the same detector, boxes, marks and images, other features of them.

For each set and number of marks every kind of features is searched by the logistic regression that ships and by the nearest
support. Differences are paired, over the draws of the marks, from the same method in the first kind of features.
"""

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from repmet.benchmarks.embedded_folders import folder_of
from repmet.data.files.atomic import write_json
from repmet.detection.checkpoint import open_detector
from repmet.detection.embedding.embedded_image import FEATURES, EmbeddedImage
from repmet.detection.embedding.embedder import Embedder, caching_embedder
from repmet.detection.protocols.own_data import OwnData, embedded_own_data, one_draw, read_own_data, row_of, table
from repmet.detection.scoring.methods import Method, spaces_of
from repmet.detection.scoring.rule import FewShotRule, few_shot_rule
from repmet.experiments.running.provenance import origin

METHODS = {"logistic": "logistic", FEATURES: "nearest support"}
Change = Callable[[Tensor], Tensor]  # RoI features (..., f) -> (..., f')
Kinds = Mapping[str, OwnData]  # a set by the kind of its features, what the others are compared with first


def changed(images: Mapping[str, EmbeddedImage], change: Change) -> dict[str, EmbeddedImage]:
    """The same images with other RoI features."""

    def of(spaces: Mapping[str, Tensor] | None) -> dict[str, Tensor] | None:
        return None if spaces is None else {**spaces, FEATURES: change(spaces[FEATURES])}

    return {
        key: replace(image, embeddings=of(image.embeddings), annotated=of(image.annotated), views=of(image.views))
        for key, image in images.items()
    }


def replaced(image: EmbeddedImage, proposals: Tensor, annotated: Tensor, mirrored: Tensor) -> EmbeddedImage:
    """The same image with other RoI features: of its proposals (P, f), of its annotated boxes and of their mirror images
    (G, f)."""
    return replace(
        image,
        embeddings={**image.embeddings, FEATURES: proposals},
        annotated={**image.annotated, FEATURES: annotated},
        views=None if image.views is None else {**image.views, FEATURES: mirrored[None]},
    )


def rows_of(kinds: Kinds, rule: FewShotRule, marks: Iterable[int], seeds: Sequence[int]) -> list[dict]:
    """A row for each method, number of marks and kind of features, as `own_data.over_draws` gives them."""
    rows, reference = [], next(iter(kinds))
    for method, label in METHODS.items():
        for k in marks:
            first = None
            for kind, data in kinds.items():
                drawn = [one_draw(data, Method(method, rule), k, seed) for seed in seeds]
                row = row_of(data, f"{label}, {kind}", k, drawn, first)
                rows.append(row if first is None else row | {"against": f"{label}, {reference}"})
                first = first or drawn
    return rows


def parser_of(doc: str) -> argparse.ArgumentParser:
    """What every such comparison may be asked."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", required=True, metavar="DIR", help="sets to mark, here or in REPMET_DATA")
    parser.add_argument("--marks", type=int, nargs="+", default=[1, 5], metavar="K", help="marks a class (1 5)")
    parser.add_argument("--draws", type=int, default=10, metavar="N", help="draws of the marks (10)")
    parser.add_argument("--out", metavar="FILE", help="write the rows as JSON")
    return parser


def compare(args: argparse.Namespace, compared: str, kinds: Callable[[Embedder], Callable[[OwnData], Kinds]]) -> None:
    """Measures, prints and writes.

    Args:
        args: of `parser_of`.
        compared: what is, in words.
        kinds: from the detector's embedder, what makes kinds of features of a set that is embedded.
    """
    sets_read = [read_own_data(folder_of(name)) for name in args.data]  # what may have to refuse comes first
    detector = open_detector(None)
    rule, embedder = few_shot_rule(detector.cfg), caching_embedder(detector, spaces_of(list(METHODS)))
    of_set, sets = kinds(embedder), []
    for data in sets_read:
        embedded = embedded_own_data(data, embedder, max(args.marks), range(args.draws), rule)
        rows = rows_of(of_set(embedded), rule, args.marks, range(args.draws))
        print(table(rows) + "\n", flush=True)
        about = {"set": data.name, "images": len(data.tested), "classes": list(data.classes), "proposals": {}}
        sets.append(about | {"rows": rows})
        if args.out:
            common = {"protocol": "own data", "compared": compared, "seed": 0, **origin()}
            write_json(Path(args.out), common | {"sets": sets})
