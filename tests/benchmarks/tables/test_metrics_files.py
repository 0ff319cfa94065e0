"""What the commands write becomes rows of the one schema, every figure of it."""

import pytest

from repmet.benchmarks.tables.metrics_files import run_of
from tests.benchmarks.tables.conftest import BENCHMARK, DETECTION, accuracy, episodic, kept

ROWS = [accuracy("digits", "test", "m", "simple", 0.9)]


def test_episodes_of_detection():
    differences = [
        {"method": "new", "reference": "repmet", "shot": 1, "episodes": 499, "difference": 0.1, "ci95": [0, 0.2]}
        | {"pooled_difference": 0.2, "pooled_ci95": [0.1, 0.3]}
    ]
    content = DETECTION | {"results": [episodic(1, skipped_episodes=[7])], "differences": differences}
    run = kept("demo", content)
    figures = {row["metric"]: row for row in run.rows["few_shot"]}
    assert list(figures) == ["repmet_pooled", "pooled_ap", "class_map", "episode_map", "recall", "tp", "fp_wrong"]
    of = {"method": "repmet", "shot": 1, "finetune": False, "skipped_episodes": [7]}
    assert figures["episode_map"] == of | {"metric": "episode_map", "mean": 0.62, "ci95": [0.6, 0.645]}
    assert figures["tp"] == of | {"metric": "tp", "mean": 7}
    assert run.episodes == [{"way": 5, "shot": 1, "query": 10, "episodes": 500, "episode_hash": "ab"}]
    of = {"method": "new", "shot": 1, "against": "repmet"}
    assert run.rows["few_shot_differences"] == [
        of | {"metric": "difference", "mean": 0.1, "ci95": [0, 0.2], "n": 499},
        of | {"metric": "pooled_difference", "mean": 0.2, "ci95": [0.1, 0.3]},
    ]
    assert [row["mean"] for row in run.rows["base_classes"]] == [0.5, 0.512, None]
    assert (run.seed, run.seconds, run.training["epochs"], run.versions) == (3, 10, 9, {"torch": "2"})


def test_lists_of_shots():
    figure = {"mean": 0.5, "ci95": 0.1, "n": 2, "values": [0.4, 0.6]}
    content = DETECTION | {"results": [], "k_shot": [{"shot": 2, "seeds": [0, 1], "method": "repmet", "nAP": figure}]}
    [row] = kept("lists", content).rows["shot_lists"]
    assert row == {"method": "repmet", "shot": 2, "seeds": [0, 1], "metric": "nAP", **figure}


def test_classification_with_costs_and_a_comparison():
    paired = [{"metric": "simple accuracy", "against": "x", "mean": 0.1, "ci95": 0.2, "n": 9, "episodes": None}]
    content = {"experiment": "d", "results": ROWS, "costs": ROWS, "paired": paired, "episodes": [], "seed": 4}
    run = kept("d", content)
    assert dict(run.rows) == {"accuracies": ROWS, "costs": ROWS, "paired": paired} and run.seed == 4


def test_retrieval_keeps_its_curves_apart():
    curve = {"norm": {"coverage": [0.5, 1.0], "risk": [0.0, 0.25]}}
    run = kept("r", {"experiment": "r", "results": ROWS, "risk_coverage": curve})
    assert dict(run.rows) == {"retrieval": ROWS} and run.curves == {"risk_coverage": curve}


def test_benchmarks():
    run = kept("roi", BENCHMARK)
    of = {"case": "a|b", "against": "torchvision"}
    assert run.rows["timings"] == [
        of | {"metric": "ratio", "mean": 12.97, "spread": [12.1, 13.5]},
        of | {"metric": "ours_ms", "mean": 16.04},
        of | {"metric": "peer_ms", "mean": 208},
    ]
    assert run.environment == {"device": "x86", "threads": 2} and run.versions == {"torch": "2"}


def test_commands_are_those_that_the_file_names():
    content = {"experiment": "d", "results": ROWS, "command": "train it", "evaluated_by": "evaluate it"}
    assert list(run_of(content, family="f", name="d", revision="abc").commands) == ["train it", "evaluate it"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1], "odd: the JSON of a result is a mapping, not list"),
        ({"results": 5, "env": {}}, "odd: neither a metrics.json .experiment, results. nor a benchmark"),
        ({"env": {}, "results": [{"case": "a"}]}, "odd: does not fit what our commands write: it lacks 'peer'"),
        ({**DETECTION, "results": [{"method": "m"}]}, "it lacks 'protocol'"),
        ({**DETECTION, "k_shot": [{"shot": 1}]}, "it lacks 'method'"),
        ({**DETECTION, "base": 5}, "does not fit what our commands write"),
    ],
)
def test_other_files_are_refused(content, message):
    with pytest.raises(ValueError, match=message):
        kept("odd", content)
