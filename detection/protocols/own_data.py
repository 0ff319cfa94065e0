"""Marks on a person's own data: k of each class from the train list, detection on the whole test list, over several draws.

Unlike in episodes, whose queries are known to hold the classes, every image of the test list is searched for every class.
Images of the train list, which marks are drawn from, are never among the queries.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mmengine.dist import all_gather_object

from repmet.data.readers.annotated_folder import class_names, read_images
from repmet.data.sources.voc import ImageRecord
from repmet.detection.checkpoint import Detector
from repmet.detection.embedding.embedded_image import EmbeddedImage
from repmet.detection.embedding.embedder import caching_embedder
from repmet.detection.embedding.views import with_views
from repmet.detection.episodes.marks import draw_marks
from repmet.detection.metrics.base_map import base_metrics
from repmet.detection.metrics.proposal_recall import proposal_recall
from repmet.detection.processes import my_share, say
from repmet.detection.protocols.metric_tables import metric_tables
from repmet.detection.scoring.detections import Detections
from repmet.detection.scoring.methods import Method, check_methods, spaces_of
from repmet.detection.scoring.representatives import SupportSet
from repmet.detection.scoring.rule import FewShotRule, few_shot_rule
from repmet.errors import UserError
from repmet.experiments.reporting.intervals import mean_interval, paired_difference

FIGURES = ("AP50", "AP", "false_finds")


@dataclass(frozen=True)
class OwnData:
    """One annotated set, read and embedded.

    Attributes:
        name: of its folder.
        classes: those that occur in both lists.
        marked: images of the train list, which marks are drawn from.
        queries: images of the test list that are not in the train list.
        embedded: all of them by id.
    """

    name: str
    classes: tuple[str, ...]
    marked: Mapping[str, ImageRecord]
    queries: Sequence[ImageRecord]
    embedded: Mapping[str, EmbeddedImage]


def read_own_data(root: str | Path, train: str = "train", test: str = "test") -> OwnData:
    """Reads a set's lists; nothing is embedded yet.

    Raises:
        FileNotFoundError, ValueError: from the reader; the lists share no class; all test images are in the train list.
    """
    marked = {r.id: r for r in read_images(root, train)}
    tested = read_images(root, test)
    files = {r.path.resolve() for r in marked.values()}
    queries = [r for r in tested if r.path.resolve() not in files]
    if not queries:
        raise UserError(f"{root}: every image of {test} is in {train} too, so no image is left to search")
    if len(queries) < len(tested):
        say(f"{root}: {len(tested) - len(queries)} images of {test} are in {train} too and are left out of the queries")
    plain = {name for r in queries for name, hard in zip(r.names, r.difficult, strict=True) if not hard}
    classes = tuple(name for name in class_names(list(marked.values())) if name in plain)
    if not classes:
        raise UserError(f"{root}: no class has boxes in both {train} and {test}")
    return OwnData(Path(root).name, classes, marked, queries, {})


def figures_of(found: Sequence[Detections], queries: Sequence[ImageRecord], classes: Sequence[str]) -> dict[str, float]:
    """Class-mean AP50 (VOC's, all points), COCO's AP, and false finds an image; fractions in [0, 1] but for the last.

    A false find is a detection that hits no object of its class, duplicates included, counted for each class at the score
    at which half of its objects are found (all detections, where fewer are), and summed over the classes: what a person
    has to take back who wants half of everything.
    """
    table, objects = metric_tables(found, queries, classes)
    metrics = base_metrics(table, objects, len(classes), plus_one=False)
    wrong = sum(row["false_at_half"] for row in metrics["per_class"].values())
    return {"AP50": metrics["voc"], "AP": metrics["coco"], "false_finds": wrong / len(queries)}


def one_draw(data: OwnData, method: Method, k: int, seed: int) -> dict[str, float]:
    """The figures of one draw of k marks a class."""
    marks = draw_marks(list(data.marked.values()), data.classes, k, seed)
    supports = SupportSet(data.classes, marks, data.marked, data.embedded)
    scorer = method.learn(supports)
    found = [scorer.detect([data.embedded[r.id]])[0] for r in data.queries]
    return figures_of(found, data.queries, data.classes)


def over_draws(
    data: OwnData, methods: Sequence[str], rule: FewShotRule, marks: Iterable[int], seeds: Sequence[int]
) -> list[dict]:
    """A row for every method and number of marks: each figure's mean over the draws, interval and values, and the paired
    difference of AP50 from the first method. Several processes share the draws."""
    jobs = [(name, k, seed) for name in methods for k in marks for seed in seeds]
    values: dict[tuple[str, int, int], dict[str, float]] = {}
    for part in all_gather_object({job: one_draw(data, Method(job[0], rule), *job[1:]) for job in my_share(jobs)}):
        values |= part
    rows = []
    for name in methods:
        for k in marks:
            row: dict = {"set": data.name, "method": name, "marks": k, "draws": len(seeds)}
            for figure in FIGURES:
                drawn = [values[name, k, seed][figure] for seed in seeds]
                row[figure] = mean_interval(drawn).as_json() | {"values": drawn}
            if name != methods[0]:
                first = [values[methods[0], k, seed]["AP50"] for seed in seeds]
                row["AP50_above_first"] = paired_difference(row["AP50"]["values"], first).as_json()
            rows.append(row)
    return rows


def own_data(
    detector: Detector, roots: Sequence[str | Path], marks: Sequence[int], seeds: Sequence[int], methods: Sequence[str]
) -> list[dict]:
    """The protocol over several sets; prints a table for each.

    Args:
        detector: its rule is the experiment's `episodes` section.
        roots: folders with lists `train` and `test`, or any annotated folder.
        marks: numbers of marks a class, k.
        seeds: one draw of marks each.
        methods: of `detection.scoring.methods.METHODS`; the others are compared with the first.

    Returns:
        For each set {"set", "images", "classes", "proposals", "rows"}; fractions in [0, 1].
    """
    check_methods(methods)
    rule = few_shot_rule(detector.cfg)
    embedder = caching_embedder(detector, spaces_of(methods))
    results = []
    for data in [read_own_data(root) for root in roots]:  # what may have to refuse comes before the network runs
        drawn = {i for seed in seeds for boxes in draw_marks(list(data.marked.values()), data.classes, max(marks), seed)
                 for i, _ in boxes}  # fmt: skip
        shown = [data.marked[i] for i in sorted(drawn)]
        say(f"{data.name}: embedding {len(shown)} marked images and {len(data.queries)} to search ...")
        embedded = with_views(embedder([*shown, *data.queries]), shown, embedder, rule.support_views)
        data = OwnData(data.name, data.classes, data.marked, data.queries, embedded)
        images = [embedded[r.id] for r in data.queries]
        plain = [r.boxes[~np.asarray(r.difficult, bool)] for r in data.queries]
        recall = proposal_recall([i.boxes.numpy() for i in images], [i.objectness.numpy() for i in images], plain)
        rows = over_draws(data, methods, rule, marks, seeds)
        say(table(rows) + "\n" + ", ".join(f"{n} {100 * v:.1f}" for n, v in recall.items() if v is not None) + "\n")
        results.append(
            {"set": data.name, "images": len(data.queries), "classes": list(data.classes), "proposals": recall, "rows": rows}
        )
    return results


def table(rows: Sequence[Mapping]) -> str:
    """The rows of one set as text: percent with the half-width of the interval over the draws, false finds as they are."""
    head = f"{rows[0]['set']:<22}{'marks':>6}{'AP50':>15}{'AP':>15}{'false/image':>15}{'AP50 - first':>17}"
    lines = [head, "-" * len(head)]
    for row in rows:
        cells = [_cell(row["AP50"], 100), _cell(row["AP"], 100), _cell(row["false_finds"], 1)]
        above = _cell(row["AP50_above_first"], 100) if "AP50_above_first" in row else ""
        lines.append(f"{row['method']:<22}{row['marks']:>6}" + "".join(f"{c:>15}" for c in cells) + f"{above:>17}")
    return "\n".join(line.rstrip() for line in lines)


def _cell(value: Mapping, scale: float) -> str:
    half = "" if value["ci95"] is None else f" ± {scale * value['ci95']:.1f}"
    return f"{scale * value['mean']:.1f}{half}"
