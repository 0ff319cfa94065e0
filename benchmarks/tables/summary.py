"""README's table: one figure a kind of task, beside what it is to be compared with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from repmet.benchmarks.tables.classification import all_figures
from repmet.benchmarks.tables.formatting import error_interval, markdown, percent_interval
from repmet.benchmarks.tables.registry import table
from repmet.benchmarks.tables.runs import Run

DETECTION = {  # run -> what is detected
    "demo": "generated scenes, 400 base classes",
    "repmet_r18_fod": "FOD-A, foreign objects on tarmac",
}
PHOTOGRAPHS = ("raccoon", "kangaroo", "microcontroller", "kitchen_containers", "road_signs")
SHOT = 5
NEAREST = "baseline_roi"
OMNIGLOT = "20-way 1-shot accuracy"
PUBLISHED = "96.0, published"  # Snell et al. 2017, table 1
CALTECH, ERROR = "Caltech-101 (15 a class)", {"RepMet, CVPR": "repmet accuracy", "Softmax": "classifier accuracy"}
OPERATORS, PEER = "ops", "torchvision"


@table("summary")
def summary(runs: Sequence[Run]) -> str:
    """A line a task; a task whose run is not kept is left out."""
    by_name = {run.name: run for run in runs}
    body = [line for run in runs for line in _photographs(run)]
    body += [line for name, data in DETECTION.items() if name in by_name for line in _detection(by_name[name], data)]
    body += [*_omniglot(runs), *_caltech(runs), *_speed(by_name)]
    return markdown(["task", "data", "figure", "ours", "compare with"], body, 3, left_from=4)


def _detection(run: Run, data: str) -> list[list[str]]:
    """Episode mAP of RepMet and of the nearest support in the RoI features of the same detector."""
    means = {
        row["method"]: row
        for row in run.rows.get("few_shot", ())
        if (row["shot"], row["metric"], row["finetune"]) == (SHOT, "episode_map", False)
    }
    if not {"repmet", NEAREST} <= means.keys():
        return []
    nearest = f"{percent_interval(means[NEAREST])}, nearest support in RoI features"
    return [[f"detect new classes, {SHOT}-shot", data, "episode mAP, %", percent_interval(means["repmet"]), nearest]]


def _photographs(run: Run) -> list[list[str]]:
    """The mean over five sets of what ships, and of the nearest support in the same frozen features."""
    figures = {
        (row["set"], row["method"]): row["mean"]
        for row in run.rows.get("own_data", ())
        if (row["marks"], row["metric"]) == (SHOT, "AP50")
    }
    means = []
    for method in ("logistic", NEAREST):
        values = [figures[name, method] for name in PHOTOGRAPHS if (name, method) in figures]
        if len(values) < len(PHOTOGRAPHS):
            return []
        means.append(f"{100 * sum(values) / len(values):.1f}")
    peer = f"{means[1]}, nearest support in the same features"
    return [
        [f"detect new classes, {SHOT} marks", "photographs of five sets, what ships", "class-mean AP50, %", means[0], peer]
    ]


def _omniglot(runs: Sequence[Run]) -> list[list[str]]:
    figures = all_figures([run for run in runs if run.name == "protonets_1_20_trainval"], "accuracies")
    rows = [row for (_, _, _, metric), row in figures.items() if metric == OMNIGLOT]
    task = "classify new classes, 1-shot"
    return [[task, "Omniglot, 20-way", "accuracy, %", percent_interval(row, 2), PUBLISHED] for row in rows]


def _caltech(runs: Sequence[Run]) -> list[list[str]]:
    figures = all_figures([run for run in runs if run.family == "comparison"], "accuracies")
    errors: dict[str, Mapping[str, Any]] = {}
    for name, rule in ERROR.items():
        key = (CALTECH, "test", f"{name}, ResNet-18 frozen", rule)
        if key in figures:
            errors[name] = figures[key]
    if errors.keys() != ERROR.keys():
        return []
    ours, peer = (error_interval(errors[name]) for name in ERROR)
    return [["classify, 8 images a class", "Caltech-101, frozen ResNet-18", "error, %", ours, f"{peer}, softmax"]]


def _speed(by_name: Mapping[str, Run]) -> list[list[str]]:
    """How often our operators are done while torchvision's are once: the geometric mean over the cases."""
    timings = by_name[OPERATORS].rows["timings"] if OPERATORS in by_name else ()
    ratios = [row["mean"] for row in timings if row["metric"] == "ratio" and row["against"] == PEER]
    if not ratios:
        return []
    speed = f"{math.prod(ratios) ** (1 / len(ratios)):.1f}x"
    return [["RoIAlign, RoIPool, NMS", f"{len(ratios)} cases on a CPU", "speed", speed, f"1x, {PEER}"]]
