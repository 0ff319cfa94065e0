"""The generated tables: what they show, that a stale page is noticed, and what is wrong with broken files."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from repmet.experiments.result_tables import TABLES
from repmet.experiments.results import PAGES, fill, main, read_results, render


def entry(shot: int, method: str = "repmet", finetune: bool = False, **figures) -> dict:
    return {
        "protocol": {
            "way": 5,
            "shot": shot,
            "query": 10,
            "episodes": 500,
            "episode_hash": "ab",
            "finetune": finetune,
        },
        "method": method,
        "repmet_pooled": 0.7041,
        "pooled_ap": 0.65,
        "class_map": 0.61,
        "episode_map": 0.62,
        "episode_map_ci95": [0.6, 0.645],
        "recall": 0.99,
        **figures,
    }


METRICS = {
    "experiment": "detection/demo",
    "seed": 3,
    "git": "abc",
    "versions": {},
    "seconds": 10,
    "results": [entry(1), entry(5, repmet_pooled=0.85), entry(1, "baseline_roi", repmet_pooled=0.2)],
    "base": {"voc07": 0.5, "voc": 0.512, "coco": None},
    "training": {"images": 12000, "epochs": 9, "seconds": 3900, "machine": "2 cores"},
}
BENCHMARK = {
    "env": {"cpu": "x86", "threads": 2, "versions": {"torch": "2"}},
    "results": [
        {"case": "a|b", "ours_ms": 16.04, "peer": "torchvision", "peer_ms": 208, "ratio": 12.97, "iqr": [12.1, 13.5]}
    ],
}


@pytest.fixture
def project(tmp_path):
    (tmp_path / "models" / "results").mkdir(parents=True)
    for page in PAGES:
        tables = "".join(f"<!-- results:{name} -->\nold\n<!-- /results -->\nkept\n" for name in TABLES)
        (tmp_path / page).write_text(f"# Title\n\n{tables}end\n")
    write(tmp_path, "demo", METRICS)
    write(tmp_path, "roi", BENCHMARK)
    return tmp_path


def write(project: Path, name: str, content) -> None:
    text = content if isinstance(content, str) else json.dumps(content)
    (project / "models" / "results" / f"{name}.json").write_text(text)


def table(project: Path, name: str) -> str:
    return render(name, read_results(project / "models" / "results"))


def test_few_shot_tables(project):
    text = table(project, "detection-few-shot")
    assert "| experiment | protocol | method | 1-shot | 5-shot |\n| --- | --- | --- | ---: | ---: |" in text
    head = "| detection/demo | 5-way, 10 queries, 500 episodes |"
    assert f"{head} RepMet | 70.4 | 85.0 |" in text
    assert f"{head} nearest support, RoI features | 20.0 | – |" in text
    assert f"{head} RepMet | 62.0 [60.0, 64.5] | 62.0 [60.0, 64.5] |" in text
    assert text.count("| experiment |") == 5


def test_summary_has_two_figures_a_shot(project):
    assert "RepMet | 70.4 | 62.0 [60.0, 64.5] | 85.0 | 62.0 [60.0, 64.5] |" in table(project, "detection-few-shot-summary")


def test_summary_has_paired_differences_where_there_are(project):
    row = {"method": "baseline_roi", "reference": "repmet", "shot": 1, "difference": -0.125, "ci95": [-0.2, 0.01]}
    write(project, "demo", {**METRICS, "differences": [row]})
    text = table(project, "detection-few-shot-summary")
    full = table(project, "detection-few-shot")
    assert "**Mean AP over episodes minus RepMet's" in full and "**Pooled AP minus RepMet's" not in full
    assert "nearest support, RoI features | -12.5 [-20.0, 1.0] | – |" in full
    assert "1-shot episode mAP [95 %] | 1-shot difference to RepMet [95 %] | 5-shot pooled AP" in text
    assert "nearest support, RoI features | 20.0 | 62.0 [60.0, 64.5] | -12.5 [-20.0, 1.0] | – | – | – |" in text
    assert "RepMet | 70.4 | 62.0 [60.0, 64.5] | – | 85.0 | 62.0 [60.0, 64.5] | – |" in text


def test_pooled_figures_have_their_interval_where_it_was_measured(project):
    row = {"method": "baseline_roi", "reference": "repmet", "shot": 1, "difference": -0.125, "ci95": [-0.2, 0.01]}
    row |= {"pooled_difference": -0.5, "pooled_ci95": [-0.625, -0.375]}
    results = [entry(1, repmet_pooled_ci95=[0.6875, 0.75]), *METRICS["results"][1:]]
    write(project, "demo", {**METRICS, "results": results, "differences": [row]})
    full = table(project, "detection-few-shot")
    assert "| RepMet | 70.4 [68.8, 75.0] | 85.0 |" in full
    assert "nearest support, RoI features | -50.0 [-62.5, -37.5] | – |" in full
    summary = table(project, "detection-few-shot-summary")
    assert "1-shot pooled AP [95 %] |" in summary and "RepMet | 70.4 [68.8, 75.0] | 62.0 [60.0, 64.5] |" in summary


def test_figures_over_lists_of_shots(project):
    assert table(project, "detection-k-shot") == "*Nothing measured yet.*"
    figures = {"nAP50": {"mean": 0.251, "ci95": 0.012}, "bAP50": {"mean": 0.8, "ci95": None}}
    rows = [{"shot": 10, "seeds": [0, 1, 2], **figures}]
    write(project, "lists", {**METRICS, "experiment": "coco", "results": [], "k_shot": rows})
    assert "| coco | 10 | 3 | 25.1 ± 1.2 | – | – | 80.0 | – | – |" in table(project, "detection-k-shot")


def test_fine_tuned_and_unknown_methods_have_rows_of_their_own(project):
    write(project, "more", {**METRICS, "experiment": "x", "results": [entry(1, finetune=True), entry(1, "tfa")]})
    text = table(project, "detection-few-shot")
    assert "| RepMet, fine-tuned | 70.4 |" in text and "| tfa | 70.4 |" in text
    write(project, "more", {**METRICS, "experiment": "x", "results": [entry(1, "repmet_finetuned", finetune=True)]})
    assert "| RepMet, fine-tuned | 70.4 |" in table(project, "detection-few-shot")


def test_one_detector_scored_by_two_rules_has_rows_for_both_and_one_training(project):
    rule = {"objectness": True, "nms": 0.3, "support_views": 8, "base_columns": True}
    write(project, "weighed", {**METRICS, "rule": rule, "results": [entry(1, repmet_pooled=0.8)], "base": {}})
    text = table(project, "detection-few-shot")
    plain, weighed = (line for line in text.splitlines() if "| RepMet | 70.4 | 85.0 |" in line or "| 80.0 | – |" in line)
    assert weighed.split("|")[2].strip() == plain.split("|")[2].strip() + (
        ", with objectness, 8 views of a support, base classes compete"
    )
    assert table(project, "training").count("| detection/demo |") == 1
    assert table(project, "detection-base").count("| detection/demo |") == 1


def test_the_summary_of_benchmarks(project):
    rows = [
        {"case": c, "ours_ms": 1, "peer": p, "peer_ms": 1, "ratio": r}
        for c, p, r in (("a", "x", 4), ("b", "x", 9), ("c", "y", 2))
    ]
    write(project, "roi", {"env": {}, "results": rows})
    lines = table(project, "benchmarks-summary").splitlines()
    assert lines[2:] == ["| roi | x | 2 | 6.00x | 4.00x | 9.00x |", "| roi | y | 1 | 2.00x | 2.00x | 2.00x |"]


def test_base_training_and_benchmarks(project):
    assert "| detection/demo | 50.0 | 51.2 | – |" in table(project, "detection-base")
    assert "| detection/demo | 12,000 | 9 | 1 h 05 min | 2 cores |" in table(project, "training")
    text = table(project, "benchmarks")
    assert "**roi** (cpu x86, threads 2)" in text
    assert "| a\\|b | 16 | torchvision | 208 | 12.97x | 12.10 to 13.50 |" in text


def test_a_benchmark_that_counts_images_shows_their_rate(project):
    row = {"case": "step", "ours_ms": 500.0, "peer": "torchvision", "peer_ms": 800.0, "ratio": 1.6, "iqr": 0.1, "images": 8}
    write(project, "training", {"env": {}, "results": [row]})
    text = table(project, "benchmarks")
    assert "| case | ours, images/s | peer | peer, images/s | ratio | spread |" in text
    assert "| step | 16 | torchvision | 10 | 1.60x | 0.10 |" in text


def test_long_times_have_no_exponent(project):
    row = {"case": "c", "ours_ms": 1234.5, "peer": "p", "peer_ms": 1_234_567.0, "ratio": 1000.0, "iqr": 1.0}
    write(project, "long", {"env": {}, "results": [row]})
    assert "| c | 1,234 | p | 1,234,567 | 1000.00x | 1.00 |" in table(project, "benchmarks")


def test_runs_without_few_shot_base_or_training(project):
    write(project, "demo", {"experiment": "plain", "results": [], "base": {"voc07": 0.7, "voc": 0.71, "coco": 0.4}})
    assert "| plain | 70.0 | 71.0 | 40.0 |" in table(project, "detection-base")
    for name in ("training", "detection-few-shot", "detection-few-shot-summary"):
        assert table(project, name) == "*Nothing measured yet.*"


@pytest.mark.parametrize("name", TABLES)
def test_no_results_at_all(name):
    assert render(name, []) == "*Nothing measured yet.*"


def test_the_command_writes_once_and_check_notices_what_is_stale(project, capsys):
    assert main(["--root", str(project), "--check"]) == 1
    assert "out of date: README.md, models/README.md; run `make results`" in capsys.readouterr().err
    assert "old" in (project / "README.md").read_text()  # checking writes nothing
    assert main(["--root", str(project)]) == 0
    text = (project / "README.md").read_text()
    assert "old" not in text and text.count("kept") == len(TABLES) and text.endswith("kept\nend\n")
    assert main(["--root", str(project), "--check"]) == 0
    assert main(["--root", str(project)]) == 0
    assert (project / "README.md").read_text() == text
    write(project, "demo", {**METRICS, "experiment": "renamed"})
    assert main(["--root", str(project), "--check"]) == 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("demo", "{", "demo.json: not valid JSON"),
        ("demo", [1], "demo.json: neither the metrics.json"),
        ("demo", {"results": 5, "env": {}}, "demo.json: neither the metrics.json"),
        ("demo", {**METRICS, "results": [{"method": "repmet"}]}, "demo.json: neither the metrics.json"),
        ("twin", METRICS, "demo.json and twin.json both hold 1-shot RepMet of detection/demo"),
        (
            "roi",
            {"env": {}, "results": [{"case": "a"}]},
            "roi.json does not fit the table 'benchmarks-summary': it lacks 'peer'",
        ),
        (
            "demo",
            {**METRICS, "results": [{"protocol": {"way": 5}, "method": "m"}]},
            "demo.json does not fit .* lacks 'query'",
        ),
        ("demo", {**METRICS, "training": 5}, "demo.json does not fit the table 'training'"),
    ],
)
def test_broken_files_get_one_clear_message(project, capsys, name, content, message):
    write(project, name, content)
    before = (project / "README.md").read_text()
    assert main(["--root", str(project)]) == 2
    assert (project / "README.md").read_text() == before
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert re.search(message, error), error


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "<!-- results:nonsense -->\n<!-- /results -->",
            "no table 'nonsense'; those there are: benchmarks, benchmarks-summary, checkpoints, class",
        ),
        ("<!-- results:training -->\n", "misspelt or has no partner"),
        ("<!-- /results -->\n", "misspelt or has no partner"),
        ("<!-- results training -->\n<!-- /results -->", "misspelt or has no partner"),
        ("<!-- results:training -->\n<!-- results:benchmarks -->\n<!-- /results -->", "is not closed"),
    ],
)
def test_broken_markers(text, message):
    with pytest.raises(ValueError, match=message):
        fill(text, [])


def test_a_missing_page_is_named(project, capsys):
    (project / "README.md").unlink()
    assert main(["--root", str(project)]) == 2
    assert "README.md: not found" in capsys.readouterr().err


def test_runs_as_a_module(project):
    command = [sys.executable, "-m", "experiments.results", "--root", str(project)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "2 result files; wrote README.md, models/README.md\n"
