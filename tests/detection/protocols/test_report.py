"""What an evaluation writes: rows, the printed table, JSON that is there whole or not at all, curves and sheets."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from repmet.data.sources.voc import ImageRecord
from repmet.detection.embedding.embedded_image import EmbeddedImage
from repmet.detection.episodes.sampling import sample_episodes
from repmet.detection.protocols import report
from repmet.detection.protocols.episodic import Pools, evaluate_episodes
from repmet.detection.protocols.report import (
    FIGURES,
    difference_table,
    differences,
    result_rows,
    table,
    write_curves,
    write_json,
    write_sheets,
)
from repmet.detection.scoring.fewshot import FewShotRule

CLASSES = ("ant", "bee", "cow", "dog")
PLACES = [(x, y, x + 20.0, y + 24.0) for x in (0.0, 30.0, 60.0) for y in (5.0, 40.0, 70.0)]  # none overlaps another
EPISODES = 6
METHODS = ("repmet", "baseline_roi")


def make_records(prefix: str, count: int, folder: Path) -> list[ImageRecord]:
    """Grey images on disk with 3 objects in places of their own."""
    rng = np.random.default_rng(len(prefix))
    records = []
    for k in range(count):
        path = folder / f"{prefix}{k:02d}.png"
        Image.new("RGB", (100, 100), (128, 128, 128)).save(path)
        names = tuple(rng.choice(CLASSES, 3).tolist())
        boxes = np.array(PLACES, np.float32)[rng.permutation(9)[:3]]
        records.append(ImageRecord(path.stem, path, 100, 100, names, boxes, np.zeros(3, bool)))
    return records


def embed(record: ImageRecord, noise: float) -> EmbeddedImage:
    """Nine proposals: those on an object have its class's direction, more or less, the others one of their own."""
    generator = torch.Generator().manual_seed(int(record.id.lstrip("suportqey")))
    own = {tuple(b): n for b, n in zip(record.boxes.tolist(), record.names, strict=True)}
    rows = [CLASSES.index(own[place]) if place in own else len(CLASSES) + k for k, place in enumerate(PLACES)]
    axes = torch.eye(16)
    seen = torch.nn.functional.normalize(axes[rows] + noise * torch.randn(9, 16, generator=generator), dim=-1)
    annotated = axes[[CLASSES.index(n) for n in record.names]]
    boxes = torch.tensor(PLACES)
    return EmbeddedImage(
        boxes, boxes, torch.ones(len(boxes)), dict.fromkeys(METHODS, seen), dict.fromkeys(METHODS, annotated)
    )


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("images")
    support, query = make_records("support", 20, folder), make_records("query", 20, folder)
    episodes = sample_episodes(
        support, query, way=3, shots=(1, 2), query_images=3, episodes=EPISODES, seed=5, classes=CLASSES
    )
    embedded = {r.id: embed(r, 0.0) for r in support} | {r.id: embed(r, 0.3) for r in query}
    pools = Pools.of(support, query)
    results = list(evaluate_episodes(episodes, pools, embedded, FewShotRule(), methods=METHODS))
    return results, episodes, pools, embedded


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


def test_json_reads_back_and_replaces_what_was_there(tmp_path) -> None:
    path = tmp_path / "metrics.json"
    write_json({"a": 1}, path)
    write_json({"results": [{"shot": 5, "ap": 0.25}], "base": None}, path)
    assert json.loads(path.read_text(encoding="utf-8")) == {"results": [{"shot": 5, "ap": 0.25}], "base": None}
    assert [p.name for p in tmp_path.iterdir()] == ["metrics.json"]


def test_a_write_that_fails_leaves_the_earlier_file(tmp_path, monkeypatch) -> None:
    path = tmp_path / "metrics.json"
    write_json({"a": 1}, path)
    with pytest.raises(TypeError):
        write_json({"a": object()}, path)
    whole = Path.write_text

    def disk_full(self: Path, text: str, **kwargs) -> None:
        whole(self, text[: len(text) // 2], **kwargs)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", disk_full)
    with pytest.raises(OSError, match="No space left"):
        write_json({"a": list(range(100))}, path)
    assert json.loads(path.read_text()) == {"a": 1}


def test_curves_of_every_shot_hold_every_method(toy, tmp_path) -> None:
    results, episodes, *_ = toy
    rows = result_rows(results, episodes)
    write_curves(results, rows, tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {f"pr_{s}shot.{kind}" for s in (1, 2) for kind in ("png", "json")}
    for shot in (1, 2):
        curves = json.loads((tmp_path / f"pr_{shot}shot.json").read_text())
        assert curves.keys() == set(METHODS)
        for method, curve in curves.items():
            (row,) = [r for r in rows if (r["method"], r["protocol"]["shot"]) == (method, shot)]
            assert curve["ap"] == row["repmet_pooled"]
            assert len(curve["recall"]) == len(curve["precision"]) > 1
        assert np.asarray(Image.open(tmp_path / f"pr_{shot}shot.png")).shape[0] > 100


def test_sheets_show_the_best_the_middle_and_the_worst_episodes(toy, tmp_path) -> None:
    results, episodes, pools, embedded = toy
    result = results[0]
    maps = result.metric.per_episode()["map"]
    assert len(set(maps.tolist())) == EPISODES, "episodes that differ"
    rank = np.argsort(maps)
    written = write_sheets(result, episodes, pools, embedded, FewShotRule(), tmp_path / "pictures")
    expected = [("good", rank[-1]), ("good", rank[-2]), ("middle", rank[3]), ("bad", rank[0]), ("bad", rank[1])]
    assert [p.name for p in written] == [f"1shot_{kind}_episode{number:03d}.png" for kind, number in expected]
    assert sorted(written) == sorted((tmp_path / "pictures").iterdir())
    for path in written:
        pixels = np.asarray(Image.open(path))
        assert pixels.ndim == 3 and (pixels == (128, 128, 128)).all(-1).sum() > 1000, "the images are on it"


def test_sheets_hand_on_supports_and_two_queries_of_each_class(toy, tmp_path, monkeypatch) -> None:
    results, episodes, pools, embedded = toy
    (result,) = [r for r in results if (r.method, r.shot) == ("repmet", 2)]
    sheets = {}
    monkeypatch.setattr(report, "episode_sheet", lambda path, **given: sheets.update({path: given}))
    for path in write_sheets(result, episodes, pools, embedded, FewShotRule(), tmp_path):
        number = int(path.stem[-3:])
        episode, given = episodes.episodes[number], sheets[path]
        percent = f"{100 * result.metric.per_episode()['map'][number]:.0f}"
        assert given["title"] == f"repmet, 3-way 2-shot, episode {number}: mAP {percent} %"
        assert given["class_names"] == episode.classes
        for name, boxes in zip(episode.classes, given["supports"], strict=True):
            assert len(boxes) == 2
            for (image, index), (path_of, box) in zip(episode.support[name], boxes, strict=True):
                assert path_of == pools.support[image].path and box.tolist() == pools.support[image].boxes[index].tolist()
                assert pools.support[image].names[index] == name
        shown = [(episode.classes[q.listed_under], q.path.stem) for q in given["queries"]]
        assert shown == [(name, episode.query[name][k]) for k in (0, 1) for name in episode.classes]
        for q in given["queries"]:
            record = pools.query[q.path.stem]
            own = [(episode.classes.index(n), *b) for n, b in zip(record.names, record.boxes.tolist(), strict=True)
                   if n in episode.classes]  # fmt: skip
            assert [(label, *b) for label, b in zip(q.labels.tolist(), q.boxes.tolist(), strict=True)] == own
            assert q.detections.shape[1] == 6 and len(q.detections) > 0


def test_few_episodes_have_no_middle(toy, tmp_path, monkeypatch) -> None:
    _, episodes, pools, embedded = toy
    monkeypatch.setattr(report, "episode_sheet", lambda path, **given: None)
    few = type(episodes)(3, (1,), 3, 5, episodes.pools, episodes.episodes[:3])
    (result,) = evaluate_episodes(few, pools, embedded, FewShotRule(), methods=["repmet"])
    written = write_sheets(result, few, pools, embedded, FewShotRule(), tmp_path)
    assert [p.name.split("_")[1] for p in written] == ["good", "good", "bad"]
    assert len({p.stem[-3:] for p in written}) == 3, "no episode twice"


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
