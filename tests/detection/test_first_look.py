"""The first look: what ships finds the coins of a photograph from one mark."""

from pathlib import Path

import pytest

from repmet.detection import first_look

pytest.importorskip("timm", reason="the shipped detector needs the extra `timm`")


def test_most_coins_are_found_from_one(tmp_path: Path, capsys) -> None:
    if first_look.find_spec("skimage") is None:
        pytest.skip("the photograph comes with scikit-image")
    assert first_look.main(["--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert (tmp_path / "coins.png").is_file()
    assert 15 <= int(said.split(" were found")[0].split()[-1]) <= 24


def test_without_the_photograph_it_says_where_it_comes_from(monkeypatch, capsys) -> None:
    monkeypatch.setattr(first_look, "find_spec", lambda _: None)
    assert first_look.main([]) == 2
    assert "pip install scikit-image" in capsys.readouterr().err
