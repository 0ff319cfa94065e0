"""README's table: its figures are those of the kept runs, recomputed here from the files; what is not kept is left out."""

import json
import math
import statistics
from pathlib import Path

from repmet.benchmarks.tables.pages import render
from repmet.benchmarks.tables.runs import read_runs

RESULTS = Path(__file__).resolve().parents[3] / "models" / "results"


def lines(family: str) -> list[dict]:
    return [json.loads(line) for line in (RESULTS / f"{family}.jsonl").read_text(encoding="utf-8").splitlines()]


def cells(text: str, task: str, data: str) -> list[str]:
    (row,) = [line for line in text.splitlines() if line.startswith(f"| {task} | {data}")]
    return [cell.strip() for cell in row.strip("|").split("|")]


def test_the_figures_are_those_of_the_files() -> None:
    text = render("summary", read_runs(RESULTS))
    (demo,) = [run for run in lines("detection") if run["name"] == "demo"]
    (row,) = [
        r
        for r in demo["rows"]["few_shot"]
        if (r["method"], r["shot"], r["metric"], r["finetune"]) == ("repmet", 5, "episode_map", False)
    ]
    assert cells(text, "detect new classes, 5-shot", "generated scenes")[3].startswith(f"{100 * row['mean']:.1f} [")
    (marked,) = [run for run in lines("detection") if run["name"] == "own_data"]
    photographs = ("raccoon", "kangaroo", "microcontroller", "kitchen_containers", "road_signs")
    for column, method in ((3, "logistic"), (4, "baseline_roi")):
        five = [
            r["mean"]
            for r in marked["rows"]["own_data"]
            if r["set"] in photographs and (r["marks"], r["metric"], r["method"]) == (5, "AP50", method)
        ]
        assert len(five) == 5
        cell = cells(text, "detect new classes, 5 marks", "photographs")[column]
        assert cell.split(",")[0] == f"{100 * statistics.mean(five):.1f}"
    errors = [
        1 - r["mean"]
        for run in lines("comparison")
        if run["name"].startswith("caltech101_frozen_softmax_")
        for r in run["rows"]["accuracies"]
        if r["split"] == "test" and r["metric"] == "classifier accuracy"
    ]
    softmax = cells(text, "classify, 8 images a class", "Caltech-101")[4]
    assert softmax.startswith(f"{100 * statistics.mean(errors):.1f} ± ") and softmax.endswith(", softmax")
    (ops,) = [run for run in lines("benchmarks") if run["name"] == "ops"]
    ratios = [r["mean"] for r in ops["rows"]["timings"] if r["metric"] == "ratio" and r["against"] == "torchvision"]
    mean = math.exp(statistics.mean(math.log(ratio) for ratio in ratios))
    assert cells(text, "RoIAlign, RoIPool, NMS", f"{len(ratios)} cases")[3] == f"{mean:.1f}x"


def test_a_task_without_a_run_is_left_out() -> None:
    runs = [run for run in read_runs(RESULTS) if run.name not in ("ops", "demo")]
    text = render("summary", runs)
    assert "generated scenes" not in text and "RoIAlign" not in text and "Omniglot" in text
