"""The retrieval benchmark in small: its rows, its file, and that it refuses to time what disagrees."""

import json

import pytest

from repmet.benchmarks import retrieval


def test_rows_and_file(tmp_path):
    out = tmp_path / "retrieval.json"
    rows = retrieval.main(["--images", "300", "--dim", "8", "--seconds", "0.05", "--threads", "1", "--out", str(out)])
    assert rows[0].peer == "the matrix product alone" and rows[0].case == "retrieval, 300 x 8"
    written = json.loads(out.read_text())
    assert written["results"][0]["ours_ms"] > 0 and written["env"]["peak_memory_gb"] > 0


def test_the_clouds_are_neither_trivial_nor_hopeless():
    figures = retrieval.retrieve(*retrieval.embeddings_of(500, 64, 5)).means()
    assert 0.1 < figures["recall@1"] < 0.95


def test_disagreement_is_an_error(monkeypatch):
    pytest.importorskip("faiss", reason="faiss is not installed: nothing to compare with")
    real = retrieval.retrieve
    monkeypatch.setattr(retrieval, "retrieve", lambda e, y: real(e, y.roll(1)))
    with pytest.raises(AssertionError, match="recall@1: ours"):
        list(retrieval.cases(*retrieval.embeddings_of(200, 8, 5), 0.01))
