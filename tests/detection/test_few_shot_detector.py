"""Few-shot detection from Python: figures as by hand, in every layout of supports, and what is saved is what was learnt."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from found import everything, records_of, same
from PIL import Image
from torchvision.ops import nms

from repmet.detection import checkpoint, learning
from repmet.detection.few_shot_detector import FewShotDetector
from repmet.detection.scoring.class_scores import class_scores
from repmet.detection.scoring.finetune import EpisodeDiverged, FinetuneRule
from repmet.detection.scoring.last_layer import LastLayer
from repmet.detection.scoring.rule import FewShotRule
from repmet.model_definitions.weights_digest import weights_digest


def test_what_is_found_is_what_the_equations_give(taught: FewShotDetector, photos: Path, support_records) -> None:
    """Posterior and softmax written out (RepMet eq. 2, 3), NMS by torchvision, the nearest support by a loop."""
    names = sorted({n for r in support_records for n in r.names})
    assert taught.classes == tuple(names)
    embedded = taught.embedder(support_records)
    supports = []  # (class, embedding), class by class
    for c, name in enumerate(names):
        for r in support_records:
            for b, marked in enumerate(r.names):
                if marked == name:
                    image = embedded[r.id]
                    x1, y1, x2, y2 = r.boxes[b]
                    p = image.proposals
                    w = (p[:, 2].clamp(max=x2) - p[:, 0].clamp(min=x1)).clamp(min=0)
                    h = (p[:, 3].clamp(max=y2) - p[:, 1].clamp(min=y1)).clamp(min=0)
                    area = (p[:, 2] - p[:, 0]) * (p[:, 3] - p[:, 1])
                    iou = w * h / (area + (x2 - x1) * (y2 - y1) - w * h)
                    k = int(iou.argmax())
                    best = image.embeddings["repmet"][k] if iou[k] >= 0.7 else image.annotated["repmet"][b]
                    supports.append((c, best))
    means = []  # the experiment asks for one mode
    for c in range(len(names)):
        mean = torch.stack([v for label, v in supports if label == c]).mean(0)
        means.append(mean / mean.norm())
    looked = records_of(photos)
    for detections in taught.detect([photos], min_score=0.0):
        (record,) = [r for r in looked if r.path == detections.image.path]
        image = taught.embedder([record])[record.id]
        e = image.embeddings["repmet"]
        s = torch.stack([torch.exp(-((e - m) ** 2).sum(1) / (2 * 0.5**2)) for m in means], 1)
        scores = torch.softmax(15 * torch.cat([s, 1 - s.max(1, keepdim=True).values], 1), 1)[:, :-1]
        expected = []
        for c in range(len(names)):
            for k in nms(image.boxes, scores[:, c], 0.3).tolist():
                of_class = [(float((e[k] - v).norm()), i) for i, (label, v) in enumerate(supports) if label == c]
                expected.append((float(scores[k, c]), c, image.boxes[k], min(of_class)[1]))
        expected.sort(key=lambda row: -row[0])
        assert len(detections.scores) == len(expected) > 0
        np.testing.assert_allclose(detections.scores, [row[0] for row in expected], atol=1e-5)
        assert detections.labels.tolist() == [row[1] for row in expected]
        np.testing.assert_allclose(detections.boxes, torch.stack([row[2] for row in expected]), atol=1e-4)
        assert detections.nearest.tolist() == [row[3] for row in expected]


def test_coco_supports_teach_what_xml_supports_teach(taught, glyph_run, support, photos, support_records, tmp_path) -> None:
    names = sorted({n for r in support_records for n in r.names})
    ordered = sorted(support_records, key=lambda r: r.id)
    rows = [(i, n, b) for i, r in enumerate(ordered) for n, b in zip(r.names, r.boxes.tolist(), strict=True)]
    content = {
        "images": [{"id": i, "file_name": r.path.name, "width": 160, "height": 160} for i, r in enumerate(ordered)],
        "categories": [{"id": 9 - c, "name": n} for c, n in enumerate(names)],
        "annotations": [
            {"id": k, "image_id": i, "category_id": 9 - names.index(n), "bbox": [b[0], b[1], b[2] - b[0], b[3] - b[1]]}
            for k, (i, n, b) in enumerate(rows)
        ],
    }
    for r in support_records:
        shutil.copy(r.path, tmp_path)
    (tmp_path / "supports.json").write_text(json.dumps(content))
    detector = FewShotDetector(glyph_run / "epoch_1.pth")
    detector.learn(tmp_path / "supports.json")
    same(everything(detector, photos), everything(taught, photos))


def test_crops_teach_their_folders_names(glyph_run, support_records, photos, tmp_path) -> None:
    for r in support_records[:2]:
        with Image.open(r.path) as image:
            for k, (name, box) in enumerate(zip(r.names, r.boxes, strict=True)):
                (tmp_path / name).mkdir(exist_ok=True)
                image.crop(tuple(int(v) for v in box)).save(tmp_path / name / f"{r.id}_{k}.png")
    detector = FewShotDetector(glyph_run)
    detector.learn(tmp_path)
    assert detector.classes == tuple(sorted({n for r in support_records[:2] for n in r.names}))
    assert all(len(detections.scores) for detections in everything(detector, photos).values())


def test_what_was_saved_is_what_was_learnt(taught, glyph_run, photos, tmp_path) -> None:
    taught.save(tmp_path / "classes.pth")
    again = FewShotDetector(glyph_run)
    again.load(tmp_path / "classes.pth")
    assert again.classes == taught.classes
    same(everything(again, photos), everything(taught, photos))
    assert (tmp_path / "classes.pth").stat().st_size < 1e6


@pytest.mark.parametrize("finetune", [None, FinetuneRule(epochs=1, lr=0.05)])
def test_base_classes_compete_where_the_experiment_says_so(taught, glyph_run, support, photos, tmp_path, finetune) -> None:
    detector = FewShotDetector(glyph_run)
    detector.cfg.episodes.base_columns = True
    detector.cfg.episodes.scale = 2.0  # soft enough that a class that does not match takes its share
    base = detector.model.roi_head.bbox_head.representatives.points.detach()
    detector.learn(support, finetune=finetune)
    for record in records_of(photos):
        image = detector.embedder([record])[record.id]
        shown = image.embeddings["repmet"], detector.learnt.scorer.representatives, FewShotRule(scale=2.0)
        expected = class_scores(*shown, base)
        assert (expected < 0.95 * class_scores(*shown)).all()
        detections = detector.detect(record.path, min_score=0.0)
        np.testing.assert_allclose(detections.scores.max(), expected.max(), rtol=1e-5)
    detector.save(tmp_path / "classes.pth")
    again = FewShotDetector(glyph_run)
    again.load(tmp_path / "classes.pth")
    same(everything(again, photos), everything(detector, photos), 1e-4)


@pytest.mark.parametrize("state", ["fresh", "taught", "tuned"])
def test_after_an_error_all_is_as_it_was(glyph_run, support, marks, photos, tmp_path, monkeypatch, state) -> None:
    detector = FewShotDetector(glyph_run)
    if state != "fresh":
        detector.learn(support, finetune=FinetuneRule(epochs=1, lr=0.05) if state == "tuned" else None)
    before = everything(detector, photos), detector.classes, weights_digest(detector.model), detector.digest
    detector_of_marks = FewShotDetector(glyph_run).learn(marks)
    detector_of_marks.save(tmp_path / "classes.pth")
    damaged = torch.load(tmp_path / "classes.pth", weights_only=True)
    torch.save(damaged | {"weights": {"roi_head.bbox_head.nothing": torch.ones(2)}}, tmp_path / "damaged.pth")

    def fails(call, error=Exception) -> None:
        with pytest.raises(error):
            call()
        after = everything(detector, photos), detector.classes, weights_digest(detector.model), detector.digest
        same(after[0], before[0])
        assert after[1:] == before[1:]

    name = next(iter(marks))
    fails(lambda: detector.learn(tmp_path / "mistyped"), FileNotFoundError)
    fails(lambda: detector.learn({name: [("gone.jpg", (1, 2, 3, 4))]}), FileNotFoundError)
    fails(lambda: detector.load(tmp_path / "gone.pth"), FileNotFoundError)
    fails(lambda: detector.load(tmp_path / "damaged.pth"), ValueError)
    fails(lambda: detector.add("new", []), ValueError)
    fails(lambda: detector.learn(marks, finetune=FinetuneRule(epochs=3, lr=1e20, train="all")), EpisodeDiverged)

    def interrupted(*_) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(learning, "saved_classes", interrupted)  # after fine-tuning has changed the weights
    fails(lambda: detector.learn(marks, finetune=FinetuneRule(epochs=1, lr=0.05, train="head")), KeyboardInterrupt)


def test_without_a_checkpoint_the_shipped_weights_are_opened(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(checkpoint, "SHIPPED", tmp_path / "photos.safetensors")
    with pytest.raises(FileNotFoundError, match=r"photos\.safetensors: no weights ship with this copy; name a checkpoint"):
        FewShotDetector()
    with pytest.raises(ValueError, match="no few-shot method 'best'; there are repmet"):
        FewShotDetector(tmp_path, method="best")
    with pytest.raises(ValueError, match="batch_size is at least 1, not 0"):
        FewShotDetector(tmp_path, batch_size=0)


def test_a_file_of_classes_is_no_checkpoint(taught, glyph_run, tmp_path) -> None:
    taught.save(tmp_path / "classes.pth")
    with pytest.raises(ValueError, match=r"classes\.pth: holds classes that were learnt .*`load` or --support"):
        FewShotDetector(tmp_path / "classes.pth")
    with pytest.raises(IsADirectoryError, match="is a folder; name a file"):
        taught.save(tmp_path)


def test_the_experiment_says_how_to_score(glyph_run, marks, tmp_path) -> None:
    loaded = torch.load(glyph_run / "epoch_1.pth", weights_only=True)
    experiment = loaded["meta"]["experiment"]
    assert "\nepisodes:\n" in experiment["yaml"]
    experiment["yaml"] = experiment["yaml"].replace("\nepisodes:\n", "\nepisodes:\n  method: baseline_ft\n")
    torch.save(loaded, tmp_path / "epoch_1.pth")
    assert FewShotDetector(glyph_run).method == "repmet"
    detector = FewShotDetector(tmp_path / "epoch_1.pth").learn(marks)
    assert detector.method == "baseline_ft" and isinstance(detector.learnt.scorer, LastLayer)
    assert FewShotDetector(tmp_path / "epoch_1.pth", method="repmet").method == "repmet"


def test_a_file_of_the_first_format_is_read(taught, glyph_run, photos, tmp_path) -> None:
    """As it was written before a scorer could be of another kind."""
    taught.save(tmp_path / "now.pth")
    kept = torch.load(tmp_path / "now.pth", weights_only=True)
    scorer = kept.pop("scorer")
    del kept["boxes"]
    old = kept | {
        "format": "repmet-representatives-1", "representatives": scorer["representatives"], "rule": scorer["rule"]
    }  # fmt: skip
    torch.save(old, tmp_path / "old.pth")
    same(everything(FewShotDetector(glyph_run).load(tmp_path / "old.pth"), photos), everything(taught, photos))
