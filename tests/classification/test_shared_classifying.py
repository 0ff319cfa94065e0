"""`classify` and `embed` by two processes (gloo): the files of one, and a process that dies costs its own share alone."""

import json
import os

import numpy as np
import pytest
from forked import run

from repmet.classification import embed, predict
from repmet.classification.embedding_file import read_embeddings
from repmet.classification.image_encoder import ImageEncoder


@pytest.mark.parametrize("name", ["photos.npz", "photos.parquet"])
def test_two_processes_embed_what_one_does(name, checkpoint, folders, tmp_path) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    for folder, processes in (("alone", 1), ("both", 2)):
        out = tmp_path / folder / name
        run(embed.main, checkpoint, "--images", folders, "--out", out, processes=processes, log=tmp_path / folder)
    alone, both = (read_embeddings(tmp_path / folder / name) for folder in ("alone", "both"))
    assert alone.names == both.names and len(alone.names) == 12 and alone.encoder == both.encoder
    np.testing.assert_allclose(alone.vectors, both.vectors, atol=1e-6)
    assert [path.name for path in (tmp_path / "both").iterdir()] == [name]


def test_two_processes_classify_as_one_does(checkpoint, folders, tmp_path) -> None:
    words = [checkpoint, "--support", folders, "--images", folders, "--labelled", "--none-share", "0.4", "--out"]
    said = [
        run(predict.main, *words, tmp_path / folder, processes=processes, log=tmp_path / f"{folder}.log")
        for folder, processes in (("alone", 1), ("both", 2))
    ]
    alone, both = (json.loads((tmp_path / folder / "predictions.json").read_text()) for folder in ("alone", "both"))
    assert len(alone) == len(both) == 12
    for row, other in zip(alone, both, strict=True):
        assert {key: row[key] for key in ("image", "class", "nearest_support")} == {
            key: other[key] for key in ("image", "class", "nearest_support")
        }
        assert row["probabilities"] == pytest.approx(other["probabilities"], abs=1e-5)
    assert [line for line in said[0][0].splitlines() if "right: " in line] == [
        line for line in said[1][0].splitlines() if "right: " in line
    ]
    assert not said[1][1].strip()


def test_the_other_process_ends_its_share_and_the_next_run_does_the_rest(checkpoint, folders, tmp_path, monkeypatch) -> None:
    looked = ImageEncoder.embedded
    calls = []

    def dies_at_the_second_batch(self, pixels):
        calls.append(len(pixels))
        if os.environ.get("RANK") == "1" and len(calls) == 2:
            os._exit(7)
        return looked(self, pixels)

    out = tmp_path / "photos.npz"
    words = [checkpoint, "--images", folders, "--batch-size", "2", "--out", out]
    with monkeypatch.context() as patched:
        patched.setattr(ImageEncoder, "embedded", dies_at_the_second_batch)
        said = run(embed.main, *words, processes=2, log=tmp_path / "log", codes=[2, 7])
    assert "error: a process has ended before its share was done: 4 images of 12 are left" in said[0]
    assert not out.exists()
    said = run(embed.main, *words, processes=2, log=tmp_path / "again")
    assert "8 of 12 images were looked at before" in said[0]
    run(embed.main, *words[:-1], tmp_path / "whole.npz", log=tmp_path / "whole")
    whole, again = read_embeddings(tmp_path / "whole.npz"), read_embeddings(out)
    assert whole.names == again.names
    np.testing.assert_allclose(whole.vectors, again.vectors, atol=1e-6)
