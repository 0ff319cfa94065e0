"""Marks on a person's own data: k of each class from the train list, detection on the whole test list, over several draws.

Unlike in episodes, whose queries are known to hold the classes, every image of the test list is searched for every class.
An image that gives a mark is never among the queries of that draw, nor is one of the train list.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from mmengine.dist import all_gather_object

from repmet.data.readers.annotated_folder import read_images
from repmet.data.readers.devkit import read_class_list
from repmet.data.sources.voc import ImageRecord
from repmet.detection.checkpoint import Detector
from repmet.detection.embedding.embedded_image import EmbeddedImage
from repmet.detection.embedding.embedder import Embedder, caching_embedder
from repmet.detection.embedding.views import with_views
from repmet.detection.episodes.episode import plain_boxes
from repmet.detection.episodes.marks import draw_marks
from repmet.detection.metrics.base_map import base_metrics
from repmet.detection.metrics.proposal_recall import proposal_recall
from repmet.detection.protocols.metric_tables import metric_tables
from repmet.detection.scoring.detections import Detections
from repmet.detection.scoring.methods import Method, check_methods, spaces_of
from repmet.detection.scoring.representatives import SupportSet
from repmet.detection.scoring.rule import FewShotRule, few_shot_rule
from repmet.errors import UserError
from repmet.experiments.reporting.intervals import mean_interval, paired_difference
from repmet.experiments.running.processes import my_share, say

FIGURES = ("AP50", "AP", "false_finds")


@dataclass(frozen=True)
class OwnData:
    """One annotated set, read and embedded.

    Attributes:
        name: of its folder.
        classes: those that can be both marked and searched for.
        train: images of the train list.
        tested: images of the test list that are not in the train list.
        embedded: all of them by id.
    """

    name: str
    classes: tuple[str, ...]
    train: Sequence[ImageRecord]
    tested: Sequence[ImageRecord]
    embedded: Mapping[str, EmbeddedImage]

    @cached_property
    def records(self) -> dict[str, ImageRecord]:
        """All images by id."""
        return {r.id: r for r in [*self.train, *self.tested]}

    def marks(self, k: int, seed: int) -> list[tuple[tuple[str, int], ...]]:
        """By class, at most k boxes: of the train list, or of half of a class's test images where that list has none."""
        in_train = _images_of(self.train)
        drawn = {
            name: draw_marks(self.train, [name], k, seed)[0]
            if name in in_train
            else draw_marks(self.tested, [name], k, seed, share=0.5)[0]
            for name in self.classes
        }
        return list(drawn.values())

    def queries(self, marks: Sequence[Sequence[tuple[str, int]]]) -> list[ImageRecord]:
        """The images to search: those of the test list that give no mark."""
        giving = {i for boxes in marks for i, _ in boxes}
        return [r for r in self.tested if r.id not in giving]


def class_names(classes: str | None, root: str | Path) -> tuple[str, ...] | None:
    """What `--classes` says: names with commas between them, or a file of names, there or in the set's folder."""
    if classes is None:
        return None
    return read_class_list(classes if classes.endswith(".txt") else [name.strip() for name in classes.split(",")], root)


def read_own_data(
    root: str | Path, train: str = "train", test: str = "test", *, classes: Sequence[str] | None = None
) -> OwnData:
    """Reads a set's lists; nothing is embedded yet. What cannot be measured is said.

    Args:
        classes: those that are marked and searched for, all images searched; None: all that can be.

    Raises:
        FileNotFoundError, ValueError: from the reader; all test images are in the train list; no class can be measured, or
            not one of those asked for.
    """
    marked, tested = read_images(root, train), read_images(root, test)
    files = {r.path.resolve() for r in marked}
    searched = [r for r in tested if r.path.resolve() not in files]
    if not searched:
        raise UserError(f"{root}: every image of {test} is in {train} too, so no image is left to search")
    if len(searched) < len(tested):
        say(f"{root}: {len(tested) - len(searched)} images of {test} are in {train} too and are left out of the queries")
    in_train, in_test = _images_of(marked), _images_of(searched)
    possible = tuple(n for n in sorted(in_test) if n in in_train or in_test[n] > 1)
    if not possible:
        raise UserError(f"{root}: no class has plain boxes in both {train} and {test}, or in two images of {test}")
    if classes is not None and (absent := [name for name in classes if name not in possible]):
        raise UserError(f"{root}: {', '.join(absent)} cannot be measured; there are {', '.join(possible)}")
    measured = tuple(n for n in possible if classes is None or n in classes)
    if only_tested := [name for name in measured if name not in in_train]:
        say(f"{root}: {train} holds no {', '.join(only_tested)}; marked in {test}, in images that are not searched")
    if left := sorted((in_train.keys() | in_test.keys()) - set(possible)):
        say(f"{root}: {', '.join(left)}: not measured, {test} has no box of them that is left to be found")
    return OwnData(Path(root).name, measured, marked, searched, {})


def embedded_own_data(data: OwnData, embedder: Embedder, marks: int, seeds: Iterable[int], rule: FewShotRule) -> OwnData:
    """With every image embedded that some draw of at most so many marks a class needs."""
    giving = {i for seed in seeds for boxes in data.marks(marks, seed) for i, _ in boxes}
    shown = [data.records[i] for i in sorted(giving)]
    say(f"{data.name}: embedding {len(shown)} images with marks and {len(data.tested)} to search ...")
    return replace(data, embedded=with_views(embedder([*shown, *data.tested]), shown, embedder, rule.other_looks))


def _images_of(records: Sequence[ImageRecord]) -> Counter[str]:
    """By class, how many images hold a plain box of it."""
    return Counter(name for r in records for name in dict.fromkeys(r.names) if plain_boxes(r, name))


def figures_of(detections: Sequence[Detections], queries: Sequence[ImageRecord], classes: Sequence[str]) -> dict[str, float]:
    """Class-mean AP50 (VOC's, all points), COCO's AP, and false finds an image; fractions in [0, 1] but for the last.

    A false find is a detection that hits no object of its class, duplicates included, counted for each class at the score
    at which half of its objects are found (all detections, where fewer are), and summed over the classes: what a person
    has to take back who wants half of everything.
    """
    table, objects = metric_tables(detections, queries, classes)
    metrics = base_metrics(table, objects, len(classes), plus_one=False)
    wrong = sum(row["false_at_half"] for row in metrics["per_class"].values())
    return {"AP50": metrics["voc"], "AP": metrics["coco"], "false_finds": wrong / len(queries)}


def one_draw(data: OwnData, method: Method, k: int, seed: int) -> dict[str, float]:
    """The figures of one draw of k marks a class."""
    marks = data.marks(k, seed)
    scorer = method.learn(SupportSet(data.classes, marks, data.records, data.embedded))
    queries = data.queries(marks)
    detections = [scorer.detect([data.embedded[r.id]])[0] for r in queries]
    return figures_of(detections, queries, data.classes)


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
            drawn, first = ([values[method, k, seed] for seed in seeds] for method in (name, methods[0]))
            rows.append(row_of(data, name, k, drawn, None if name == methods[0] else first))
    return rows


def row_of(
    data: OwnData, method: str, k: int, drawn: Sequence[Mapping[str, float]], first: Sequence[Mapping[str, float]] | None
) -> dict:
    """Each figure's mean over the draws, interval and values; and the paired difference of AP50 from what is compared with.

    Args:
        drawn, first: the figures of each draw, `first` of the method that this one is compared with.
    """
    row: dict = {"set": data.name, "method": method, "marks": k, "draws": len(drawn)}
    for figure in FIGURES:
        values = [figures[figure] for figures in drawn]
        row[figure] = mean_interval(values).as_json() | {"values": values}
    if first is not None:
        row["AP50_above_first"] = paired_difference(row["AP50"]["values"], [f["AP50"] for f in first]).as_json()
    return row


def own_data(
    detector: Detector,
    roots: Sequence[str | Path],
    marks: Sequence[int],
    seeds: Sequence[int],
    methods: Sequence[str],
    classes: str | None = None,
) -> list[dict]:
    """The protocol over several sets; prints a table for each.

    Args:
        detector: its rule is the experiment's `episodes` section.
        roots: folders with lists `train` and `test`, or any annotated folder.
        marks: numbers of marks a class, k.
        seeds: one draw of marks each.
        methods: of `detection.scoring.methods.METHODS`; the others are compared with the first.
        classes: as `class_names` reads them; None: all.

    Returns:
        For each set {"set", "images", "classes", "proposals", "rows"}; fractions in [0, 1].
    """
    check_methods(methods)
    rule = few_shot_rule(detector.cfg)
    embedder = caching_embedder(detector, spaces_of(methods))
    results = []
    for data in [
        read_own_data(root, classes=class_names(classes, root)) for root in roots
    ]:  # what may have to refuse comes before the network runs
        data = embedded_own_data(data, embedder, max(marks), seeds, rule)
        images = [data.embedded[r.id] for r in data.tested]
        plain = [r.boxes[~np.asarray(r.difficult, bool)] for r in data.tested]
        recall = proposal_recall([i.boxes.numpy() for i in images], [i.objectness.numpy() for i in images], plain)
        rows = over_draws(data, methods, rule, marks, seeds)
        say(table(rows) + "\n" + ", ".join(f"{n} {100 * v:.1f}" for n, v in recall.items() if v is not None) + "\n")
        results.append(
            {"set": data.name, "images": len(data.tested), "classes": list(data.classes), "proposals": recall, "rows": rows}
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
