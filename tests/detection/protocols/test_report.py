"""What an evaluation writes: rows, the printed tables, JSON that is there whole or not at all."""

import json
from dataclasses import replace

import numpy as np
import pytest
from toy_episodes import EPISODES, METHODS, embed

from repmet.detection.protocols.episodic import evaluate_episodes
from repmet.detection.protocols.report import FIGURES, difference_table, differences, result_rows, table
from repmet.detection.scoring.rule import FewShotRule


@pytest.fixture(scope="module")
def toy(toy_episodes):
    return toy_episodes


def test_rows_keep_the_contract_of_metrics_json(toy) -> None:
    results, episodes, *_ = toy
    rows = result_rows(results, episodes)
    assert [(row["method"], row["protocol"]["shot"]) for row in rows] == [(m, s) for m in METHODS for s in (1, 2)]
    for row, result in zip(rows, results, strict=True):
        assert row["protocol"] == {
            "way": 3,
            "shot": result.shot,
            "query": 3,
            "episodes": EPISODES,
            "episode_hash": episodes.hash_for(result.shot),
            "finetune": False,
        }
        expected = result.metric.compute()
        assert {name: row[name] for name in expected} == expected
        assert all(0 <= row[name] <= 1 for name in FIGURES)
        low, high = row["episode_map_ci95"]
        assert 0 <= low <= row["episode_map"] <= high <= 1
    assert 0.2 < rows[0]["pooled_ap"] < 0.999, "a perfect score would prove little"
    assert rows[0]["protocol"]["episode_hash"] != rows[1]["protocol"]["episode_hash"]
    tuned = [replace(r, method="repmet_finetuned", skipped=(2,)) for r in results]
    assert all(row["protocol"]["finetune"] and row["skipped_episodes"] == [2] for row in result_rows(tuned, episodes))
    assert json.loads(json.dumps(rows)) == rows


def test_table_gives_percent_and_the_interval_in_columns() -> None:
    figures = dict(zip(FIGURES, (0.6023, 0.5, 0.45, 0.4449, 1.0), strict=True))
    rows = [
        {"method": "repmet", "protocol": {"shot": 1}, "episode_map_ci95": [0.4321, 0.4567], **figures},
        {
            "method": "baseline_untrained",
            "protocol": {"shot": 10},
            "episode_map_ci95": [0, 0.02],
            **dict.fromkeys(FIGURES, 0),
        },
    ]
    head, rule, first, second = table(rows).split("\n")
    assert head.split() == ["method", "shot", *FIGURES, "95", "%", "interval"]
    assert set(rule) == {"-"}
    assert first.split() == ["repmet", "1", "60.2", "50.0", "45.0", "44.5", "100.0", "43.2", "to", "45.7"]
    assert second.split() == ["baseline_untrained", "10", *["0.0"] * 5, "0.0", "to", "2.0"]
    assert len({len(line) for line in (head, rule, first, second)}) == 1, "columns that line up"


def test_differences_are_paired_by_episode(toy) -> None:
    """Against the mean of differences by hand."""
    results = toy[0]
    rows = differences(results)
    assert [(row["method"], row["shot"]) for row in rows] == [("baseline_roi", 1), ("baseline_roi", 2)]
    by = {(r.method, r.shot): r.metric.per_episode()["map"] for r in results}
    for row in rows:
        paired = by[row["method"], row["shot"]] - by["repmet", row["shot"]]
        assert row["difference"] == pytest.approx(paired.mean()) and row["episodes"] == EPISODES
        assert row["ci95"][0] <= row["difference"] <= row["ci95"][1]
    assert "baseline_roi" in difference_table(rows)
    shifted = [replace(results[0], method="other"), results[0]]
    (same,) = differences(shifted)
    assert same["difference"] == 0 and same["ci95"] == [0, 0] and "*" not in difference_table([same])
    assert same["pooled_difference"] == 0 and same["pooled_ci95"] == [0, 0]


def test_differences_of_pooled_figures_are_paired_by_what_is_left_out(toy) -> None:
    results, episodes, pools, embedded = toy
    worse = embedded | {i: embed(record, 0.5) for i, record in pools.query.items()}
    (other,) = evaluate_episodes(replace(episodes, shots=(1,)), pools, worse, FewShotRule(), methods=["baseline_roi"])
    (row,) = differences([results[0], other])
    ours, theirs = (r.metric.compute()["repmet_pooled"] for r in (results[0], other))
    assert row["pooled_difference"] == theirs - ours < 0
    spread = np.var(other.metric.pooled_without() - results[0].metric.pooled_without()) * (EPISODES - 1)
    half = 2.5706 * spread**0.5  # Student's t of five degrees of freedom
    assert row["pooled_ci95"] == pytest.approx([theirs - ours - half, theirs - ours + half], abs=1e-5)


def test_no_difference_in_pooled_figures_over_other_episodes(toy) -> None:
    _, episodes, pools, embedded = toy
    fewer = type(episodes)(3, (1,), 3, 5, episodes.pools, episodes.episodes[:4])
    (short,) = evaluate_episodes(fewer, pools, embedded, FewShotRule(), methods=["baseline_roi"])
    (row,) = differences([toy[0][0], short])
    assert row["episodes"] == 4 and "pooled_difference" not in row
    assert len(difference_table([row]).split("\n")[2].split()) < 9
