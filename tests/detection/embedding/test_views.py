"""Views of supports: what a turn does to boxes, and that a view is what the plain embedder makes of a turned file."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from repmet.data.sources.voc import read_image_set
from repmet.detection import evaluate
from repmet.detection.embedding.cache import EmbeddingCache
from repmet.detection.embedding.embedder import Embedder
from repmet.detection.embedding.views import ViewEmbedder, view, with_views
from repmet.detection.few_shot_detector import FewShotDetector
from repmet.detection.scoring.representatives import support_embeddings
from repmet.detection.scoring.rule import FewShotRule


@pytest.fixture(scope="module")
def embedder(glyph_run) -> Embedder:
    detector = FewShotDetector(glyph_run)
    return Embedder(detector.model, detector.cfg.test_pipeline)


@pytest.fixture(scope="module")
def records(glyph_run):
    return read_image_set(glyph_run / "scenes", "novel_support")[:3]


@pytest.mark.parametrize("number", range(8))
def test_boxes_stay_on_their_objects(number):
    image = np.zeros((40, 60, 3), np.uint8)
    image[5:15, 30:50], image[20:40, 0:10] = 7, 9
    seen, boxes = view(image, np.array([[30.0, 5, 50, 15], [0, 20, 10, 40]]), number)
    assert seen.shape == ((60, 40, 3) if number // 2 % 2 else (40, 60, 3))
    for colour, box in zip((7, 9), boxes, strict=True):
        rows, columns = np.nonzero(seen[..., 0] == colour)
        np.testing.assert_array_equal(box, [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])


def test_the_eight_views_differ():
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    seen = [view(image, np.zeros((0, 4)), k)[0].tobytes() for k in range(8)]
    assert len(set(seen)) == 8 and seen[0] == image.tobytes()


def test_a_view_is_the_turned_file(embedder, records, tmp_path):
    looks = ViewEmbedder(embedder.model, embedder.pipeline.transforms, views=8)(records)
    for record in records:
        for number in (1, 2, 5):
            pixels, boxes = view(cv2.imread(str(record.path)), record.boxes, number)
            cv2.imwrite(str(tmp_path / "turned.png"), pixels)
            turned = replace(record, path=tmp_path / "turned.png", boxes=boxes)
            (image,) = embedder([turned]).values()
            for space, values in image.annotated.items():
                of_view = looks[record.id].annotated[space][number - 1]
                torch.testing.assert_close(of_view, values, atol=2e-4, rtol=1e-3)


def test_all_views_stand_for_a_box(embedder, records):
    embedded = embedder(records)
    rule = FewShotRule(support_views=2, support_iou=None)
    seen = with_views(embedded, records[:2], embedder, 2)
    assert seen.keys() == embedded.keys() and seen[records[2].id].views is None
    image, record = seen[records[0].id], records[0]
    got = support_embeddings(image, 1, record.boxes[1], rule, "repmet")
    torch.testing.assert_close(got, torch.stack([image.annotated["repmet"][1], image.views["repmet"][0, 1]]))
    assert with_views(embedded, records, embedder, 1) == embedded


def test_views_are_kept_beside_the_images(glyph_run, records, tmp_path, monkeypatch):
    from repmet.data.files import tensor_cache

    monkeypatch.setattr(tensor_cache, "CACHE", tmp_path)
    detector = FewShotDetector(glyph_run)
    cache = EmbeddingCache(detector, ("repmet",))
    plain = Embedder(detector.model, detector.cfg.test_pipeline, spaces=("repmet",), cache=cache)
    first = with_views(plain(records), records, plain, 2)
    monkeypatch.setattr(ViewEmbedder, "_batch", lambda *_: pytest.fail("the network ran"))
    second = with_views(plain(records), records, plain, 2)
    for i, image in first.items():
        torch.testing.assert_close(second[i].views["repmet"], image.views["repmet"])


def test_another_number_of_views_is_an_error(embedder):
    with pytest.raises(ValueError, match="support_views is one of 1, 2, 8, not 3"):
        ViewEmbedder(embedder.model, embedder.pipeline.transforms, views=3)


def test_the_commands_know_them(glyph_run, records, tmp_path, capsys):
    options = ["--shot", "1", "--episodes", "2", "--query", "1", "--out", str(tmp_path)]
    changes = ["--cfg-options", "data.base_test=null", "episodes.support_views=8", "episodes.modes=null"]
    assert evaluate.main([str(glyph_run / "tiny.yaml"), str(glyph_run), *options, *changes]) == 0, capsys.readouterr().err
    assert json.loads((tmp_path / "metrics.json").read_text())["rule"]["support_views"] == 8
    learnt = []
    for views in (1, 2):
        detector = FewShotDetector(glyph_run)
        detector.cfg.episodes |= {"support_iou": None, "support_views": views}
        detector.learn(glyph_run / "scenes")
        learnt.append(len(detector.learnt.embeddings))
    assert learnt[1] == 2 * learnt[0]
