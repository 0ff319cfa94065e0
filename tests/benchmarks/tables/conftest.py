"""Runs as they are kept, made of what the commands write."""

from collections.abc import Mapping
from typing import Any

from repmet.benchmarks.tables.metrics_files import run_of
from repmet.benchmarks.tables.runs import Run

REVISION = "0123456789ab"


def kept(name: str, content: Mapping[str, Any], family: str = "some") -> Run:
    """A file of this content as a kept run."""
    return run_of(content, family=family, name=name, revision=REVISION, commands=["python -m something"])


def episodic(shot: int, method: str = "repmet", finetune: bool = False, **figures: Any) -> dict[str, Any]:
    """A row of detection's metrics.json."""
    protocol = {"way": 5, "shot": shot, "query": 10, "episodes": 500, "episode_hash": "ab", "finetune": finetune}
    return {
        "protocol": protocol,
        "method": method,
        "repmet_pooled": 0.7041,
        "pooled_ap": 0.65,
        "class_map": 0.61,
        "episode_map": 0.62,
        "episode_map_ci95": [0.6, 0.645],
        "recall": 0.99,
        "counts": {"tp": 7, "fp_wrong": 2},
        **figures,
    }


DETECTION: dict[str, Any] = {
    "experiment": "demo",
    "seed": 3,
    "git": REVISION,
    "versions": {"torch": "2"},
    "seconds": 10,
    "results": [episodic(1), episodic(5, repmet_pooled=0.85), episodic(1, "baseline_roi", repmet_pooled=0.2)],
    "base": {"voc07": 0.5, "voc": 0.512, "coco": None},
    "training": {"images": 12000, "epochs": 9, "seconds": 3900, "machine": "2 cores"},
}
BENCHMARK: dict[str, Any] = {
    "env": {"device": "x86", "threads": 2, "versions": {"torch": "2"}, "git": REVISION},
    "results": [
        {"case": "a|b", "ours_ms": 16.04, "peer": "torchvision", "peer_ms": 208, "ratio": 12.97, "iqr": [12.1, 13.5]}
    ],
}


def accuracy(dataset: str, split: str, method: str, metric: str, mean: float, **more: Any) -> dict[str, Any]:
    """A row of classification's metrics.json."""
    of = {"dataset": dataset, "split": split, "method": method, "metric": f"{metric} accuracy", "mean": mean}
    return of | {"ci95": 0.001, "n": 10_000, "seeds": [1]} | more


def classified(name: str, *rows: Mapping[str, Any], family: str = "some", **more: Any) -> Run:
    """A kept run of classification."""
    return kept(name, {"experiment": name, "seed": 1, "results": list(rows), **more}, family)
