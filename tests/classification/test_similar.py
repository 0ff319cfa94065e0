"""The commands `embed` and `similar`: their files, their answers, and what they refuse."""

import csv
import json
import re
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

from repmet.classification import embed, similar
from repmet.classification.embedding_file import ImageEmbeddings, read_embeddings, write_embeddings
from repmet.classification.few_shot_classifier import FewShotClassifier


@pytest.fixture(scope="module")
def embedded(checkpoint, folders, tmp_path_factory):
    path = tmp_path_factory.mktemp("embedded") / "colours.npz"
    assert embed.main([str(checkpoint), "--images", str(folders), "--out", str(path)]) == 0
    return path


@pytest.mark.parametrize("name", ["some.npz", "some.parquet"])
def test_both_formats_keep_all(name, tmp_path) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    vectors = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)
    encoder = {"source": {"type": "x"}, "size": [8, 8], "digest": "d"}
    before = ImageEmbeddings(("a.jpg", "häuser/ß.png", "日.png"), vectors, encoder)
    write_embeddings(before, tmp_path / "sub" / name)
    after = read_embeddings(tmp_path / "sub" / name)
    assert after.names == before.names and after.encoder == before.encoder
    np.testing.assert_array_equal(after.vectors, vectors)
    assert after.vectors.dtype == np.float32


def test_other_tools_read_parquet(embedded, tmp_path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    write_embeddings(read_embeddings(embedded), tmp_path / "a.parquet")
    table = parquet.read_table(tmp_path / "a.parquet").to_pydict()
    np.testing.assert_allclose(table["embedding"], read_embeddings(embedded).vectors)
    assert list(table["image"]) == list(read_embeddings(embedded).names)


def test_vectors_are_the_classifiers(checkpoint, folders, embedded) -> None:
    kept = read_embeddings(embedded)
    assert len(kept.names) == 12 and all(name.endswith(".png") for name in kept.names)
    expected = FewShotClassifier(checkpoint).embed(list(kept.names)).numpy()
    np.testing.assert_allclose(kept.vectors, expected, atol=1e-5)


def test_a_query_is_not_its_own_answer(folders, embedded, picture, tmp_path, capsys) -> None:
    Image.fromarray(picture("green", 90)).save(tmp_path / "new.png")
    inside = folders / "red" / "1.png"
    words = [str(tmp_path / "new.png"), str(inside), "--in", str(embedded), "--number", "3", "--out", str(tmp_path / "out")]
    assert similar.main(words) == 0
    new, old = json.loads((tmp_path / "out/similar.json").read_text())
    assert len(new["similar"]) == len(old["similar"]) == 3
    assert {entry["image"].split("/")[-2] for entry in new["similar"]} == {"green"}
    assert str(inside) not in [entry["image"] for entry in old["similar"]]
    distances = [entry["distance"] for entry in old["similar"]]
    assert distances == sorted(distances)
    kept = read_embeddings(embedded)
    rows = dict(zip(kept.names, kept.vectors, strict=True))
    assert distances[0] == pytest.approx(np.square(rows[str(inside)] - rows[old["similar"][0]["image"]]).sum(), abs=1e-5)
    lines = list(csv.reader((tmp_path / "out/similar.csv").read_text().splitlines()))
    assert lines[0] == ["query", "rank", "image", "distance"] and len(lines) == 7
    page = (tmp_path / "out/index.html").read_text()
    sources = re.findall(r'src="([^"]+)"', page)
    assert len(sources) == 8 and all((tmp_path / "out" / source).is_file() for source in sources)
    assert f"{inside}:" in capsys.readouterr().out


def test_images_that_are_gone_or_damaged_cost_the_rest_nothing(checkpoint, folders, tmp_path, capsys) -> None:
    shutil.copytree(folders / "blue", tmp_path / "blue")
    (tmp_path / "blue" / "damaged.png").write_bytes((folders / "blue" / "0.png").read_bytes()[:60])
    file = tmp_path / "blue.npz"
    assert embed.main([str(checkpoint), "--images", str(tmp_path / "blue"), "--out", str(file)]) == 1
    printed = capsys.readouterr()
    assert "damaged.png" in printed.err and "4 images in 6 dimensions" in printed.out
    shutil.rmtree(tmp_path / "blue")
    assert similar.main([str(folders / "blue" / "0.png"), "--in", str(file), "--out", str(tmp_path / "out")]) == 0
    assert len(json.loads((tmp_path / "out/similar.json").read_text())[0]["similar"]) == 4


def test_refusals_are_one_line(checkpoint, folders, embedded, tmp_path, capsys, monkeypatch) -> None:
    def refused(main, *words: object) -> str:
        assert main(list(map(str, words))) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ") and error.count("\n") == 1
        return error

    images = folders / "red"
    assert "written as .npz or .parquet" in refused(embed.main, "--images", images, "--out", tmp_path / "a.csv")
    np.savez(tmp_path / "mine.npz", names=["a"], embeddings=np.ones((1, 2)))
    before = (tmp_path / "mine.npz").read_bytes()
    assert "is no file of embeddings" in refused(embed.main, checkpoint, "--images", images, "--out", tmp_path / "mine.npz")
    assert (tmp_path / "mine.npz").read_bytes() == before
    (tmp_path / "site").mkdir()
    (tmp_path / "site/index.html").write_text("mine")
    assert "site/index.html: was not" in refused(similar.main, images, "--in", embedded, "--out", tmp_path / "site")
    assert "no such image" in refused(embed.main, checkpoint, "--images", tmp_path / "typo", "--out", tmp_path / "a.npz")
    assert "make it by repmet embed" in refused(similar.main, images, "--in", tmp_path / "typo.npz")
    (tmp_path / "other.npz").write_bytes(b"PK no archive")
    assert "not a file that repmet embed wrote" in refused(similar.main, images, "--in", tmp_path / "other.npz")
    assert "--number is at least 1, not 0" in refused(similar.main, images, "--in", embedded, "--number", 0)
    kept = read_embeddings(embedded)
    write_embeddings(ImageEmbeddings(kept.names, kept.vectors, {**kept.encoder, "digest": "x"}), tmp_path / "old.npz")
    assert "other weights" in refused(similar.main, images, "--in", tmp_path / "old.npz", "--out", tmp_path)
    (tmp_path / "bad.png").write_text("x")
    assert "none of 1 image can be read" in refused(
        embed.main, checkpoint, "--images", tmp_path / "bad.png", "--out", tmp_path / "a.npz"
    )
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "pip install 'repmet[similar]'" in refused(embed.main, "--images", images, "--out", tmp_path / "a.parquet")
