"""Few-shot VOC and COCO: base classes and K-shot novel ones detected together, over many lists of shots.

Shapes: N classes, K representatives a class, P boxes of an image, e embedding dimensions.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from mmengine.dist import all_gather_object
from torch import Tensor

from repmet.data.readers.annotated_folder import read_images
from repmet.data.sources.voc import ImageRecord
from repmet.detection.checkpoint import Detector
from repmet.detection.embedding.embedded_image import EmbeddedImage
from repmet.detection.embedding.embedder import caching_embedder
from repmet.detection.embedding.views import with_views
from repmet.detection.episodes.episode import plain_boxes
from repmet.detection.episodes.shot_lists import KShotList, draw_lists, read_lists
from repmet.detection.metrics import base_metrics
from repmet.detection.protocols.metric_tables import metric_tables
from repmet.detection.scoring.class_scores import stacked
from repmet.detection.scoring.methods import NearestRepresentative
from repmet.detection.scoring.representatives import SupportSet
from repmet.detection.scoring.rule import FewShotRule, few_shot_rule
from repmet.errors import UserError
from repmet.experiments.reporting.intervals import mean_interval
from repmet.experiments.running.processes import my_share, say

METHOD = "repmet"
FIGURES = ("nAP50", "nAP50_voc07", "nAP", "bAP50", "bAP50_voc07", "bAP")
_OF = {"AP50": "voc", "AP50_voc07": "voc07", "AP": "coco"}


def without_supports(
    queries: Sequence[ImageRecord], shots: KShotList, support: Mapping[str, ImageRecord]
) -> list[ImageRecord]:
    """The queries that give the list no support: what a detector was shown is nothing that it has to find.

    All boxes of the list count, whatever the number of shots, so that several shots are compared on the same images. A file
    is known by its place on the disk, not by its id.

    Raises:
        ValueError: a class has no object left to be found.
    """
    shown = {_place(support[i].path) for boxes in shots.support.values() for i, _ in boxes}
    left = [r for r in queries if _place(r.path) not in shown]
    if empty := [name for name in shots.support if not any(plain_boxes(r, name) for r in left)]:
        raise UserError(
            f"list {shots.seed}: every query image of {', '.join(empty)} gives the list a support, and nothing is left to "
            "be found; ask for fewer shots, or give more images"
        )
    return left


@cache
def _place(path: Path) -> Path:
    return path.resolve()


def one_list(
    shots: KShotList,
    shot: int,
    base: Tensor,
    support: Mapping[str, ImageRecord],
    queries: Sequence[ImageRecord],
    embedded: Mapping[str, EmbeddedImage],
    base_classes: Sequence[str],
    rule: FewShotRule,
) -> dict[str, float]:
    """The figures of one K-shot list, fractions in [0, 1].

    nAP50, bAP50: mean AP at IoU 0.5 over the novel and over the base classes that occur in the queries (`_voc07`: by VOC's
    eleven points, as the published VOC figures are); nAP, bAP: COCO's. All classes compete in one softmax, as in TFA's
    generalised protocol; where there is no base class, the novel ones alone.

    Args:
        shots: the list; its first `shot` boxes of each class are shown.
        base: the trained representatives, (N_b, K, e).
        support: the support images by id.
        queries: every image of the test list; those that give this list a support are left out.
        embedded: all of them by id.
    """
    queries = without_supports(queries, shots, support)
    novel_classes = tuple(shots.support)
    supports = SupportSet(novel_classes, [shots.support[name][:shot] for name in novel_classes], support, embedded)
    novel = supports.representatives(rule, METHOD)
    scorer = NearestRepresentative(rule=rule, representatives=stacked(base, novel) if len(base) else novel)
    names = [*base_classes, *novel_classes]
    detections = [scorer.detect([embedded[r.id]])[0] for r in queries]
    per_class = base_metrics(*metric_tables(detections, queries, names), len(names))["per_class"]
    groups = {"n": range(len(base_classes), len(names)), "b": range(len(base_classes))}
    figures = {}
    for group, members in groups.items():
        for figure, key in _OF.items():
            values = [per_class[k][key] for k in members if k in per_class]
            if values:
                figures[group + figure] = float(np.mean(values))
    return figures


def over_lists(
    lists: Mapping[int, Sequence[KShotList]],
    base: Tensor,
    support: Mapping[str, ImageRecord],
    queries: Sequence[ImageRecord],
    embedded: Mapping[str, EmbeddedImage],
    base_classes: Sequence[str],
    rule: FewShotRule,
) -> list[dict]:
    """A row for every number of shots: each figure's mean over the lists, its 95 % interval, and the figures of each list.

    Several processes share the lists.

    Args:
        lists: by number of shots, the lists, one a seed.
        base, support, queries, embedded, base_classes, rule: as `one_list`.
    """
    rows = []
    for shot, each in sorted(lists.items()):
        local = {
            number: one_list(shots, shot, base, support, queries, embedded, base_classes, rule)
            for number, shots in my_share(list(enumerate(each)))
        }
        figures: dict[int, dict[str, float]] = {}
        for part in all_gather_object(local):
            figures |= part
        row: dict = {"shot": shot, "seeds": [s.seed for s in each], "method": METHOD}
        for name in figures[0]:
            values = np.array([figures[k][name] for k in range(len(each))])
            row[name] = mean_interval(values).as_json() | {"values": values.tolist()}
        rows.append(row)
    return rows


def table(rows: Sequence[Mapping]) -> str:
    """The rows as text: percent, mean ± half-width of the 95 % interval over the lists."""
    shown = [name for name in FIGURES if name in rows[0]]
    head = f"{'shot':>5}{'lists':>7}" + "".join(f"{name:>16}" for name in shown)
    lines = [head, "-" * len(head)]
    for row in rows:
        cells = [
            f"{100 * row[n]['mean']:.1f}" + (f" ± {100 * row[n]['ci95']:.1f}" if row[n]["ci95"] is not None else "")
            for n in shown
        ]
        lines.append(f"{row['shot']:>5}{len(row['seeds']):>7}" + "".join(f"{cell:>16}" for cell in cells))
    return "\n".join(lines)


def k_shot(detector: Detector, seeds: int, folder: str | None) -> list[dict]:
    """The protocol as an experiment names its data: supports of `data.support`; every other image of `data.query`.

    Args:
        detector: trained on the base classes.
        seeds: how many lists are drawn, from `episodes.seed` on.
        folder: published lists in their place.

    Returns:
        A row for each number of shots, as `over_lists`; the table is printed.
    """
    cfg, data = detector.cfg, detector.cfg.data
    support = read_images(data.root, data.support, classes=data.novel_classes)
    queries = read_images(data.root, data.query, classes=data.novel_classes)
    shots = sorted({cfg.episodes.shot} if isinstance(cfg.episodes.shot, int) else set(cfg.episodes.shot))
    if folder is not None:
        lists = {shot: read_lists(folder, support, data.novel_classes, shot) for shot in shots}
    else:
        drawn = draw_lists(support, data.novel_classes, shots[-1], range(cfg.episodes.seed, cfg.episodes.seed + seeds))
        lists = dict.fromkeys(shots, drawn)
    by_id = {r.id: r for r in support}
    shown = {i for each in lists.values() for shot_list in each for boxes in shot_list.support.values() for i, _ in boxes}
    for shot_list in {id(shot_list): shot_list for each in lists.values() for shot_list in each}.values():
        without_supports(queries, shot_list, by_id)  # it may refuse, before the network runs
    images = {i: by_id[i] for i in sorted(shown)} | {r.id: r for r in queries}
    say(f"embedding {len(images)} distinct images ...")
    embedder, rule = caching_embedder(detector, (METHOD,)), few_shot_rule(cfg)
    embedded = with_views(embedder(images.values()), [by_id[i] for i in sorted(shown)], embedder, rule.other_looks)
    base = detector.model.roi_head.bbox_head.representatives.points.detach().cpu()
    rows = over_lists(lists, base, by_id, queries, embedded, data.base_classes, rule)
    say("\nfew-shot lists, %, ± half-width of the 95 % interval over the lists\n" + table(rows))
    return rows
