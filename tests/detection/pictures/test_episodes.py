"""The pictures of an evaluation: a curve for every method, sheets of the best, middling and worst episodes."""

import json

import numpy as np
import pytest
from PIL import Image
from toy_episodes import EPISODES, METHODS

from repmet.detection.pictures import episodes as pictures
from repmet.detection.pictures.episodes import write_curves, write_sheets
from repmet.detection.protocols.episodic import evaluate_episodes
from repmet.detection.protocols.report import result_rows
from repmet.detection.scoring.methods import Method
from repmet.detection.scoring.rule import FewShotRule

REPMET = Method("repmet", FewShotRule())


@pytest.fixture(scope="module")
def toy(toy_episodes):
    return toy_episodes


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
    written = write_sheets(result, episodes, pools, embedded, REPMET, tmp_path / "pictures")
    expected = {"good": rank[[-1, -2]], "middle": rank[[2, 3]], "bad": rank[[0, 1]]}
    names = [f"1shot_{kind}_episode{number:03d}.png" for kind, numbers in expected.items() for number in numbers]
    assert [p.name for p in written] == names
    assert sorted(written) == sorted((tmp_path / "pictures").iterdir())
    for path in written:
        pixels = np.asarray(Image.open(path))
        assert pixels.ndim == 3 and (pixels == (128, 128, 128)).all(-1).sum() > 1000, "the images are on it"


def test_sheets_hand_on_supports_and_two_queries_of_each_class(toy, tmp_path, monkeypatch) -> None:
    results, episodes, pools, embedded = toy
    (result,) = [r for r in results if (r.method, r.shot) == ("repmet", 2)]
    sheets = {}
    monkeypatch.setattr(pictures, "episode_sheet", lambda path, **arguments: sheets.update({path: arguments}))
    for path in write_sheets(result, episodes, pools, embedded, REPMET, tmp_path):
        number = int(path.stem[-3:])
        episode, arguments = episodes.episodes[number], sheets[path]
        percent = f"{100 * result.metric.per_episode()['map'][number]:.0f}"
        assert arguments["title"] == f"repmet, 3-way 2-shot, episode {number}: mAP {percent} %"
        assert arguments["class_names"] == episode.classes
        for name, boxes in zip(episode.classes, arguments["supports"], strict=True):
            assert len(boxes) == 2
            for (image, index), (path_of, box) in zip(episode.support[name], boxes, strict=True):
                assert path_of == pools.support[image].path and box.tolist() == pools.support[image].boxes[index].tolist()
                assert pools.support[image].names[index] == name
        shown = [(episode.classes[q.listed_under], q.path.stem) for q in arguments["queries"]]
        assert shown == [(name, episode.query[name][k]) for k in (0, 1) for name in episode.classes]
        for q in arguments["queries"]:
            record = pools.query[q.path.stem]
            truth = [(episode.classes.index(n), *b) for n, b in zip(record.names, record.boxes.tolist(), strict=True)
                   if n in episode.classes]  # fmt: skip
            assert [(label, *b) for label, b in zip(q.labels.tolist(), q.boxes.tolist(), strict=True)] == truth
            assert len(q.detections) > 0 and set(q.detections.labels) <= {0, 1, 2}


def test_few_episodes_have_no_middle(toy, tmp_path, monkeypatch) -> None:
    _, episodes, pools, embedded = toy
    monkeypatch.setattr(pictures, "episode_sheet", lambda path, **arguments: None)
    few = type(episodes)(3, (1,), 3, 5, episodes.pools, episodes.episodes[:3])
    (result,) = evaluate_episodes(few, pools, embedded, FewShotRule(), methods=["repmet"])
    written = write_sheets(result, few, pools, embedded, REPMET, tmp_path)
    assert [p.name.split("_")[1] for p in written] == ["good", "good", "bad"]
    assert len({p.stem[-3:] for p in written}) == 3, "no episode twice"
