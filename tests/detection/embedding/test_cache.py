"""Embeddings on disk: a second evaluation runs no network and gives the same figures; nothing stale or damaged is used."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from repmet.data.files import tensor_cache
from repmet.data.sources.voc import read_image_set
from repmet.detection import evaluate
from repmet.detection.checkpoint import Detector
from repmet.detection.embedding import cache as embedding_cache
from repmet.detection.embedding.cache import EmbeddingCache
from repmet.detection.embedding.embedded_image import EmbeddedImage
from repmet.detection.embedding.embedder import Embedder, caching_embedder
from repmet.detection.few_shot_detector import FewShotDetector


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensor_cache, "CACHE", tmp_path / "cache")


@pytest.fixture
def detector(glyph_run: Path) -> Detector:
    taught = FewShotDetector(glyph_run)
    return Detector(taught.model, taught.cfg, {})


@pytest.fixture
def records(glyph_run: Path) -> list:
    return read_image_set(glyph_run / "scenes", "novel_support")[:5]


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images each pass of the network takes from now on."""
    seen: list[int] = []
    batch = Embedder._batch
    monkeypatch.setattr(Embedder, "_batch", lambda self, records: (seen.append(len(records)), batch(self, records))[1])
    return seen


def assert_same(image: EmbeddedImage, other: EmbeddedImage) -> None:
    assert vars(image).keys() == vars(other).keys()
    for name, value in vars(image).items():
        torch.testing.assert_close(vars(other)[name], value, rtol=0, atol=0)


def test_what_comes_back_is_what_was_kept_bit_for_bit(detector, records, batches, capsys) -> None:
    first = caching_embedder(detector)(records)
    again = caching_embedder(detector)(records)
    assert sum(batches) == 5, "the second time no image goes through the network"
    for i in first:
        assert_same(first[i], again[i])
    assert "5 of 5 images were embedded before" in capsys.readouterr().out


def test_a_file_holds_its_image_and_not_the_batch(detector, records) -> None:
    embedded = caching_embedder(detector)(records)
    cache = EmbeddingCache(detector, ("repmet", "baseline_untrained", "baseline_roi"))
    image = embedded[records[0].id]
    kept = [value for value in vars(image).values() if value is not None]
    parts = [v for value in kept for v in (value.values() if isinstance(value, dict) else [value])]
    size = sum(v.numel() * v.element_size() for v in parts)
    assert cache._path(records[0]).stat().st_size < size + 20_000


def test_an_interrupted_embedding_goes_on(detector, records, batches, monkeypatch) -> None:
    embedder = caching_embedder(detector)
    embedder.batch_size = 2
    whole = embedder._batch

    def interrupted(chosen):
        if len(batches) == 2:
            raise KeyboardInterrupt
        return whole(chosen)

    monkeypatch.setattr(embedder, "_batch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        embedder(records)
    batches.clear()
    assert set(caching_embedder(detector)(records)) == {r.id for r in records}
    assert batches == [1]


@pytest.mark.parametrize("change", ["weights", "model", "pipeline", "spaces", "code"])
def test_another_detector_finds_nothing(detector, tmp_path, monkeypatch, change) -> None:
    before = EmbeddingCache(detector, ["repmet"]).folder
    assert EmbeddingCache(detector, ["repmet"]).folder == before
    spaces = ["repmet"]
    if change == "weights":
        with torch.no_grad():
            next(detector.model.parameters()).view(-1)[0] += 1e-6
    elif change == "model":
        detector.cfg.model.test_cfg.rpn.max_per_img -= 1
    elif change == "pipeline":
        detector.cfg.test_pipeline[1]["scale"] = (96, 96)
    elif change == "spaces":
        spaces = ["repmet", "baseline_roi"]
    else:
        edited = tmp_path / "edited.py"
        edited.write_text("# another line")
        code = embedding_cache._code()
        assert {p.name for p in code} >= {"embedder.py", "representatives.py", "roi_align.cpp"}
        monkeypatch.setattr(embedding_cache, "_code", lambda: [*code, edited])
    assert EmbeddingCache(detector, spaces).folder != before


def test_what_later_stages_and_commands_do_embeds_nothing_anew() -> None:
    files = {path.relative_to(Path(embedding_cache.__file__).parents[2]).as_posix() for path in embedding_cache._code()}
    assert {"detection/dataset.py", "detection/checkpoint.py", "detection/episodes/turned.py"} <= files
    later = ("detection/scoring/", "detection/protocols/", "detection/pictures/", "detection/detect.py")
    assert not [file for file in files if file.startswith(later)]


def test_another_image_or_other_boxes_find_nothing(detector, records, tmp_path) -> None:
    cache = EmbeddingCache(detector, ["repmet"])
    record = records[0]
    cache.put(record, caching_embedder(detector)([record])[record.id])
    assert cache.get(record) is not None
    assert cache.get(replace(record, boxes=record.boxes + np.float32(1))) is None
    darker = tmp_path / "darker.png"
    Image.open(record.path).point(lambda v: v // 2).save(darker)
    assert cache.get(replace(record, path=darker)) is None
    copy = tmp_path / "copy.jpg"
    copy.write_bytes(Path(record.path).read_bytes())
    assert cache.get(replace(record, path=copy, id="elsewhere")) is not None, "where the file lies does not matter"


def test_a_damaged_file_is_made_anew(detector, records, batches) -> None:
    first = caching_embedder(detector)(records)
    path = EmbeddingCache(detector, list(first[records[0].id].embeddings))._path(records[0])
    path.write_bytes(path.read_bytes()[:100])
    batches.clear()
    with pytest.warns(UserWarning, match="cannot be read .*it is made anew"):
        again = caching_embedder(detector)(records)
    assert batches == [1]
    torch.testing.assert_close(again[records[0].id].boxes, first[records[0].id].boxes)


def test_a_folder_that_cannot_be_written_to_costs_nothing_but_the_cache(detector, records, tmp_path, monkeypatch) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setattr(tensor_cache, "CACHE", tmp_path / "file")
    with pytest.warns(UserWarning, match="nothing is kept there"):
        embedded = caching_embedder(detector)(records)
    assert len(embedded) == 5


def test_other_shots_and_seeds_need_no_network(glyph_run, tmp_path, batches) -> None:
    def figures(name: str, *options: str) -> list[dict]:
        out = tmp_path / name
        command = [str(glyph_run / "tiny.yaml"), str(glyph_run), "--out", str(out), *options]
        assert evaluate.main([*command, "--cfg-options", "data.base_test=null"]) == 0
        return json.loads((out / "metrics.json").read_text())["results"]

    first = figures("first")
    assert batches
    used = len(list((tmp_path / "cache" / "embeddings").rglob("*.pt")))
    assert used == sum(batches)
    batches.clear()
    assert figures("again") == first
    assert not batches
    assert figures("other", "--shot", "1", "--seed", "5") != first
    assert sum(batches) + used == len(list((tmp_path / "cache" / "embeddings").rglob("*.pt"))), "only images not met before"


def test_repmet_alone_keeps_no_other_embeddings(glyph_run, tmp_path, batches) -> None:
    command = [str(glyph_run / "tiny.yaml"), str(glyph_run), "--out", str(tmp_path / "out"), "--shot", "1"]
    changes = ["--cfg-options", "data.base_test=null", "episodes.methods=[repmet]"]
    assert evaluate.main([*command, *changes]) == 0
    files = list((tmp_path / "cache" / "embeddings").rglob("*.pt"))
    assert len(files) == sum(batches)
    assert all(torch.load(file, weights_only=True)["embeddings"].keys() == {"repmet"} for file in files)
    rows = json.loads((tmp_path / "out/metrics.json").read_text())["results"]
    assert [row["method"] for row in rows] == ["repmet"]


def test_an_interrupted_evaluation_goes_on_to_the_same_figures(glyph_run, tmp_path, batches, monkeypatch) -> None:
    command = [str(glyph_run / "tiny.yaml"), str(glyph_run), "--shot", "1"]
    command += ["--cfg-options", "data.base_test=null", "--out"]
    counted = Embedder._batch

    def interrupted(self, records):
        if batches:
            raise KeyboardInterrupt
        return counted(self, records)

    monkeypatch.setattr(Embedder, "_batch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        evaluate.main([*command, str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()
    (first,) = batches
    batches.clear()
    monkeypatch.setattr(Embedder, "_batch", counted)
    assert evaluate.main([*command, str(tmp_path / "out")]) == 0
    rest = sum(batches)
    monkeypatch.setattr(tensor_cache, "CACHE", tmp_path / "another")
    assert evaluate.main([*command, str(tmp_path / "whole")]) == 0
    assert sum(batches) - rest == first + rest, "the images of the first batch did not go through the network again"
    resumed, whole = (json.loads((tmp_path / name / "metrics.json").read_text())["results"] for name in ("out", "whole"))
    for a, b in zip(resumed, whole, strict=True):
        assert a["protocol"] == b["protocol"]
        for figure in ("repmet_pooled", "pooled_ap", "class_map", "episode_map"):
            assert a[figure] == pytest.approx(b[figure], abs=1e-6)
