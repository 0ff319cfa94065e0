"""The benchmarks of many images, at a small size: the trees and images that they make, and the figures that they give."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from repmet.benchmarks import indexes, sizes, stream
from repmet.data.readers.annotated_folder import read_images
from repmet.data.readers.image_inputs import image_inputs


def test_recall_and_time_of_the_indexes() -> None:
    pytest.importorskip("faiss")
    vectors, queries = (indexes.embeddings_of(n, 16, clouds=10, latent=4, seed=s) for s, n in enumerate((2000, 20)))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    rows = list(indexes.rows_of(vectors, queries))
    assert [row["index"].split(",")[0] for row in rows] == ["flat", *["IVF"] * 4, *["HNSW"] * 5]
    recalls = [row["recall"]["mean"] for row in rows]
    assert recalls[0] == 1 and recalls[1] < recalls[4] <= 1 and recalls[5] <= recalls[9] <= 1 and recalls[9] > 0.9
    assert all(row["ms_a_query"]["mean"] > 0 and row["mb"]["mean"] >= 2000 * 16 * 4e-6 for row in rows)


def test_fewer_embeddings_where_there_is_no_room(capsys) -> None:
    assert indexes.fitting(1000, 8) == 1000
    assert indexes.fitting(10**12, 128) < 10**10 and "are taken" in capsys.readouterr().out


@pytest.mark.parametrize("name", sizes.SETS)
def test_trees_have_the_images_boxes_and_classes_that_they_should(name, tmp_path: Path) -> None:
    lay_out, image_set = sizes.LAYOUTS[name]
    classes = lay_out(tmp_path / "set", 240, 600, 10)
    records = read_images(tmp_path / "set", image_set, classes=classes)
    assert len(records) == 240 and sum(len(r.boxes) for r in records) == 600 and len(classes) == 10
    assert {label for r in records for label in r.names} == set(classes)
    sizes.evaluation(str(tmp_path / "set"), image_set, classes, ())


def test_images_are_links_and_commands_what_a_user_types(tmp_path: Path) -> None:
    folder = stream.make_images(tmp_path, 50, 7, 60)
    images = image_inputs(folder)
    assert len(images) == 50 and len({os.stat(image.path).st_ino for image in images}) == 7
    with Image.open(images[0].path) as image:
        assert image.size == (60, 45)
    from repmet.detection import detect

    words = stream.words_of("detect", tmp_path, None, "torch")
    assert words[0] == "detect" and "--runtime" in words
    parser = detect.command_line("repmet detect")
    parser.add_argument("--runtime")
    args = parser.parse_args(words[1:])
    assert args.format == "jsonl" and args.pictures == 0
    assert stream.words_of("embed", tmp_path, 32, "")[-2:] == ["--size", "32"]
