"""Few-shot detection from Python: figures as by hand, in every layout of supports, and what is saved is what was learnt."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from found import everything, same
from PIL import Image
from torchvision.ops import nms

from repmet.detection.episodes.support_set import images_to_look_at
from repmet.detection.few_shot_detector import FewShotDetector
from repmet.detection.scoring.class_scores import class_scores
from repmet.detection.scoring.finetune import FinetuneRule
from repmet.detection.scoring.rule import FewShotRule


def test_what_is_found_is_what_the_equations_give(taught: FewShotDetector, photos: Path, support_records) -> None:
    """Posterior and softmax written out (RepMet eq. 2, 3), NMS by torchvision, the nearest support by a loop."""
    names = sorted({n for r in support_records for n in r.names})
    assert taught.classes == tuple(names)
    embedded = taught.embedder(support_records)
    supports = []  # (class, embedding), class by class
    for c, name in enumerate(names):
        for r in support_records:
            for b, own in enumerate(r.names):
                if own == name:
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
        mean = torch.stack([v for own, v in supports if own == c]).mean(0)
        means.append(mean / mean.norm())
    looked = images_to_look_at(photos)
    for path, found in taught.detect([photos], min_score=0.0):
        (record,) = [r for r in looked if r.path == path]
        image = taught.embedder([record])[record.id]
        e = image.embeddings["repmet"]
        s = torch.stack([torch.exp(-((e - m) ** 2).sum(1) / (2 * 0.5**2)) for m in means], 1)
        scores = torch.softmax(15 * torch.cat([s, 1 - s.max(1, keepdim=True).values], 1), 1)[:, :-1]
        expected = []
        for c in range(len(names)):
            for k in nms(image.boxes, scores[:, c], 0.3).tolist():
                own = [(float((e[k] - v).norm()), i) for i, (label, v) in enumerate(supports) if label == c]
                expected.append((float(scores[k, c]), c, image.boxes[k], min(own)[1]))
        expected.sort(key=lambda row: -row[0])
        assert len(found.scores) == len(expected) > 0
        np.testing.assert_allclose(found.scores, [row[0] for row in expected], atol=1e-5)
        assert found.labels.tolist() == [row[1] for row in expected]
        np.testing.assert_allclose(found.boxes, torch.stack([row[2] for row in expected]), atol=1e-4)
        assert found.nearest.tolist() == [row[3] for row in expected]


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
    assert all(len(found.scores) for found in everything(detector, photos).values())


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
    for record in images_to_look_at(photos):
        image = detector.embedder([record])[record.id]
        shown = image.embeddings["repmet"], detector.learnt.scorer.representatives, FewShotRule(scale=2.0)
        expected = class_scores(*shown, base)
        assert (expected < 0.95 * class_scores(*shown)).all()
        ((_, found),) = detector.detect([record.path], min_score=0.0)
        np.testing.assert_allclose(found.scores.max(), expected.max(), rtol=1e-5)
    detector.save(tmp_path / "classes.pth")
    again = FewShotDetector(glyph_run)
    again.load(tmp_path / "classes.pth")
    same(everything(again, photos), everything(detector, photos))


def test_a_photograph_held_on_its_side_is_looked_at_upright(taught, photos, tmp_path) -> None:
    with Image.open(photos / "wide.png") as image:
        image.save(tmp_path / "upright.png")
        exif = Image.Exif()
        exif[0x0112] = 6  # turn by 90 degrees clockwise to view
        image.rotate(90, expand=True).convert("RGB").save(tmp_path / "turned.jpg", exif=exif, quality=100, subsampling=0)
    upright, turned = images_to_look_at([tmp_path / "upright.png", tmp_path / "turned.jpg"])
    assert (turned.width, turned.height) == (upright.width, upright.height) == (160, 120)
    boxes = {p.name: f.boxes for p, f in taught.detect(tmp_path, min_score=0.0)}
    assert boxes["turned.jpg"][:, 2].max() > 121  # wider than it is stored
