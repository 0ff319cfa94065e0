"""The benchmark of detection's episodes in small: what it counts, its file, and that it refuses to time what disagrees."""

import json

import numpy as np
import pytest

from repmet.benchmarks import episodic_detection as benchmark


@pytest.fixture
def _few_queries(monkeypatch):
    monkeypatch.setattr(benchmark, "QUERY", 2)


def small(*more: str) -> list:
    options = ["--episodes", "3", "--peer-episodes", "2", "--images", "50", "--detections", "3000", "--threads", "1", *more]
    return benchmark.main(options)


@pytest.mark.usefixtures("_few_queries")
def test_rows_and_file(tmp_path, capsys):
    out = tmp_path / "episodic_detection.json"
    rows = small("--out", str(out))
    assert [row.case.partition(",")[0] for row in rows] == ["3 episodes of 10 queries", "figures of 3"]
    assert "both ways find the same, bit for bit" in capsys.readouterr().out
    written = json.loads(out.read_text())
    assert written["env"]["figures_peak_memory_gb"] > 0
    assert written["results"][0]["peer_ms"] == pytest.approx(rows[0].ratio * rows[0].ours_ms)


@pytest.mark.usefixtures("_few_queries")
def test_what_disagrees_is_not_timed(monkeypatch):
    real = benchmark.Published.rows
    monkeypatch.setattr(benchmark.Published, "rows", lambda self, n: tuple(part[:-1] for part in real(self, n)))
    with pytest.raises(AssertionError, match="give other detections"):
        small("--detections", "0")


def test_the_growing_list_is_timed_at_every_length(monkeypatch):
    """With a computation that takes as many seconds as the list has episodes, 1 + 2 + ... + 16."""
    monkeypatch.setattr(benchmark, "figures_of", len)
    monkeypatch.setattr(benchmark, "seconds", lambda call: call())
    assert benchmark.growing_list_seconds([()] * 16) == pytest.approx(16 * 17 / 2)


def test_synthetic_detections_are_as_many_as_asked_and_some_hit():
    parts = list(benchmark.synthetic_episodes(4, 5000))
    assert [len(detections) for detections, _, _ in parts] == [5000] * 4
    figures = benchmark.figures_of(parts)
    assert 0 < figures["pooled_ap"] < 0.5
    assert figures["counts"]["n_ground_truth"] == 200 and figures["counts"]["n_detections"] == 20_000
    assert np.unique(parts[1][0][:, 0]).tolist() == [1]
