"""Views of supports: what a turn does to boxes, and that a view is what the plain embedder makes of a turned file."""

import copy
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
    looks = ViewEmbedder(embedder.model, embedder.pipeline.transforms, looks=FewShotRule(support_views=8).other_looks)(
        records
    )
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
    seen = with_views(embedded, records[:2], embedder, rule.other_looks)
    assert seen.keys() == embedded.keys() and seen[records[2].id].views is None
    image, record = seen[records[0].id], records[0]
    got = support_embeddings(image, 1, record.boxes[1], rule, "repmet")
    torch.testing.assert_close(got, torch.stack([image.annotated["repmet"][1], image.views["repmet"][0, 1]]))
    assert with_views(embedded, records, embedder, FewShotRule().other_looks) == embedded


def test_views_are_kept_beside_the_images(glyph_run, records, tmp_path, monkeypatch):
    from repmet.data.files import tensor_cache

    monkeypatch.setattr(tensor_cache, "CACHE", tmp_path)
    detector = FewShotDetector(glyph_run)
    cache = EmbeddingCache(detector, ("repmet",))
    plain = Embedder(detector.model, detector.cfg.test_pipeline, spaces=("repmet",), cache=cache)
    looks = FewShotRule(support_views=2).other_looks
    first = with_views(plain(records), records, plain, looks)
    monkeypatch.setattr(ViewEmbedder, "_batch", lambda *_: pytest.fail("the network ran"))
    second = with_views(plain(records), records, plain, looks)
    for i, image in first.items():
        torch.testing.assert_close(second[i].views["repmet"], image.views["repmet"])


def test_the_looks_of_a_rule():
    assert FewShotRule().other_looks == ()
    assert FewShotRule(support_views=2).other_looks == ((1, 1.0),)
    rule = FewShotRule(support_views=2, support_scales=[0.5, 1, 1.7])
    assert rule.other_looks == ((0, 0.5), (1, 0.5), (1, 1.0), (0, 1.7), (1, 1.7))


def test_another_size_is_what_a_pipeline_of_that_size_makes_of_the_image(glyph_run, embedder, records):
    rule = FewShotRule(support_scales=[1, 0.5, 1.5], support_iou=None)
    seen = with_views(embedder(records), records, embedder, rule.other_looks)
    for place, times in enumerate((0.5, 1.5)):
        pipeline = copy.deepcopy(FewShotDetector(glyph_run).cfg.test_pipeline)
        (resize,) = [step for step in pipeline if step["type"] == "Resize"]
        resize["scale"] = tuple(round(side * times) for side in resize["scale"])
        other = Embedder(embedder.model, pipeline)(records)
        for record in records:
            for space, values in other[record.id].annotated.items():
                torch.testing.assert_close(seen[record.id].views[space][place], values, atol=2e-4, rtol=1e-3)
    stands_for = support_embeddings(seen[records[0].id], 0, records[0].boxes[0], rule, "repmet")
    assert len(stands_for) == 3


def test_sizes_need_a_pipeline_that_brings_images_to_one(embedder):
    steps = [step for step in embedder.pipeline.transforms if type(step).__name__ != "Resize"]
    with pytest.raises(ValueError, match="support_scales needs a test pipeline with a Resize"):
        ViewEmbedder(embedder.model, steps, looks=((0, 2.0),))


def test_the_commands_know_them(glyph_run, records, tmp_path, capsys):
    options = ["--shot", "1", "--episodes", "2", "--query", "1", "--out", str(tmp_path)]
    changes = ["--cfg-options", "data.base_test=null", "episodes.support_views=8", "episodes.modes=null"]
    changes += ["episodes.support_scales=[0.5,1]"]
    assert evaluate.main([str(glyph_run / "tiny.yaml"), str(glyph_run), *options, *changes]) == 0, capsys.readouterr().err
    assert json.loads((tmp_path / "metrics.json").read_text())["rule"]["support_views"] == 8
    assert json.loads((tmp_path / "metrics.json").read_text())["rule"]["support_scales"] == [0.5, 1.0]
    learnt = []
    for views, scales in ((1, [1]), (2, [1]), (2, [0.5, 1, 2])):
        detector = FewShotDetector(glyph_run)
        detector.cfg.episodes |= {"support_iou": None, "support_views": views, "support_scales": scales}
        detector.learn(glyph_run / "scenes")
        learnt.append(len(detector.learnt.embeddings))
    assert learnt == [learnt[0], 2 * learnt[0], 6 * learnt[0]]
