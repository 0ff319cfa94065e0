"""Which scores negatives change: kinds by hand, with and without against the methods themselves, and the command."""

import json

import numpy as np
import pytest
import torch
from episode_world import RULE, image, record, world

from repmet.detection import negatives as command
from repmet.detection.episodes.episode import Episodes
from repmet.detection.protocols.episodic import Pools, evaluate_episodes
from repmet.detection.protocols.negatives import KINDS, kinds_of, measure


def test_kinds_by_hand() -> None:
    boxes = torch.tensor([[5.0, 5, 30, 30], [17, 5, 42, 30], [40, 40, 70, 75], [80, 80, 99, 99], [60, 5, 90, 30]])
    kinds = kinds_of(image(boxes=boxes), record("s0", ("cat", "dog", "cow")), ("cat", "dog"))
    names = [[KINDS[k] for k in row] for row in kinds]
    assert names[0] == ["right", "other class"]
    assert names[1] == ["near", "background"]  # overlaps the cat by a third
    assert names[2] == ["other class", "right"]
    assert names[3] == ["background", "background"]
    assert names[4] == ["background", "background"]  # a cow is no class of the episode


def test_with_and_without_are_np_repmet_and_repmet(monkeypatch) -> None:
    monkeypatch.setattr("repmet.detection.protocols.negatives.SHOWN", 0.0)  # of random embeddings few score more
    torch.manual_seed(0)
    episode, embedded, records = world()
    queries = {name: record(name, ("cat", "dog")) for name in ("q0", "q1")}
    episodes = Episodes(way=2, shots=(1, 2), query=1, seed=3, pools={}, episodes=(episode,))
    pools = Pools(records, queries)
    for name, r in queries.items():  # on the objects, beside them, and on the ground
        at = torch.from_numpy(r.boxes)
        embedded[name] = image(boxes=torch.cat([at, at + 9.0, torch.tensor([[0.0, 80, 20, 99]])]))
    rows = {(row["scores"], row["shot"]): row for row in measure(episodes, pools, embedded, RULE)}
    assert len(rows) == 2 * (2 + len(KINDS))
    for result in evaluate_episodes(episodes, pools, embedded, RULE, methods=["repmet", "np_repmet"]):
        name = {"repmet": "without", "np_repmet": "with"}[result.method]
        assert rows[name, result.shot]["AP"]["mean"] == pytest.approx(result.metric.compute()["repmet_pooled"])
    pairs = [rows[kind, 2] for kind in KINDS if "pairs" in rows[kind, 2]]
    assert sum(row["pairs"]["mean"] for row in pairs) == 2 * 2 * 5  # two queries of five proposals, two classes
    assert all(np.isfinite(row["lengthened"]["mean"]) and 0 <= row["with"]["mean"] <= 1 for row in pairs)
    assert 0 <= rows["near", 2]["auroc_with"]["mean"] <= 1 and "auroc_with" not in rows["right", 2]


def test_the_command(glyph_run, tmp_path, capsys) -> None:
    words = [str(glyph_run / "tiny.yaml"), str(glyph_run), "--episodes", "2", "--out", str(tmp_path)]
    assert command.main(words) == 0
    assert "other class" in capsys.readouterr().out
    written = json.loads((tmp_path / "negatives.json").read_text())
    assert {row["scores"] for row in written["rows"]} == {"without", "with", *KINDS}
    assert written["protocol"] == "negatives" and written["rows"][0]["experiment"] == "tiny"
    assert command.main([str(tmp_path / "no.yaml"), str(glyph_run), "--out", str(tmp_path)]) == 2
    assert "no.yaml" in capsys.readouterr().err
