"""Few-shot detection on one's own images: the same figures as by hand, in every layout of supports, and its refusals."""

import contextlib
import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO
from torchvision.ops import nms

import detection.modules  # noqa: F401  (before anything of mmdet that looks kernels up)
from data.voc import read_image_set
from detection import detect
from detection.few_shot_detector import FewShotDetector, weights_digest
from detection.fewshot import FewShotRule, class_scores
from detection.finetune import FinetuneRule
from detection.support import images_to_look_at

README = Path(__file__).parents[2] / "README.md"


@pytest.fixture(scope="module")
def records(glyph_run: Path):
    return read_image_set(glyph_run / "scenes", "novel_support")[:4]


@pytest.fixture(scope="module")
def support(records, tmp_path_factory) -> Path:
    """Images with their XML files side by side."""
    folder = tmp_path_factory.mktemp("support")
    for r in records:
        shutil.copy(r.path, folder)
        shutil.copy(r.path.parents[1] / "Annotations" / f"{r.id}.xml", folder)
    return folder


@pytest.fixture(scope="module")
def photos(glyph_run: Path, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for r in read_image_set(glyph_run / "scenes", "novel_query")[:3]:
        shutil.copy(r.path, folder)
    with Image.open(next(folder.iterdir())) as image:
        image.crop((0, 0, 160, 120)).save(folder / "wide.png")  # another size
    return folder


@pytest.fixture(scope="module")
def taught(glyph_run: Path, support: Path) -> FewShotDetector:
    detector = FewShotDetector(glyph_run)
    detector.learn(support)
    return detector


def test_what_is_found_is_what_the_equations_give(taught: FewShotDetector, photos: Path, records) -> None:
    """Posterior and softmax written out (RepMet eq. 2, 3), NMS by torchvision, the nearest support by a loop."""
    names = sorted({n for r in records for n in r.names})
    assert taught.classes == tuple(names)
    embedded = taught.embedder(records)
    supports = []  # (class, embedding), class by class
    for c, name in enumerate(names):
        for r in records:
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


def everything(detector: FewShotDetector, photos: Path) -> dict:
    return {path.name: found for path, found in detector.detect([photos], min_score=0.0)}


def same(a: dict, b: dict) -> None:
    assert a.keys() == b.keys()
    for name in a:
        for field in ("labels", "scores", "boxes", "nearest"):
            np.testing.assert_array_equal(getattr(a[name], field), getattr(b[name], field))


def test_coco_supports_teach_what_xml_supports_teach(taught, glyph_run, support, photos, records, tmp_path) -> None:
    names = sorted({n for r in records for n in r.names})
    ordered = sorted(records, key=lambda r: r.id)
    rows = [(i, n, b) for i, r in enumerate(ordered) for n, b in zip(r.names, r.boxes.tolist(), strict=True)]
    content = {
        "images": [{"id": i, "file_name": r.path.name, "width": 160, "height": 160} for i, r in enumerate(ordered)],
        "categories": [{"id": 9 - c, "name": n} for c, n in enumerate(names)],
        "annotations": [
            {"id": k, "image_id": i, "category_id": 9 - names.index(n), "bbox": [b[0], b[1], b[2] - b[0], b[3] - b[1]]}
            for k, (i, n, b) in enumerate(rows)
        ],
    }
    for r in records:
        shutil.copy(r.path, tmp_path)
    (tmp_path / "supports.json").write_text(json.dumps(content))
    detector = FewShotDetector(glyph_run / "epoch_1.pth")
    detector.learn(tmp_path / "supports.json")
    same(everything(detector, photos), everything(taught, photos))


def test_crops_teach_their_folders_names(glyph_run, records, photos, tmp_path) -> None:
    for r in records[:2]:
        with Image.open(r.path) as image:
            for k, (name, box) in enumerate(zip(r.names, r.boxes, strict=True)):
                (tmp_path / name).mkdir(exist_ok=True)
                image.crop(tuple(int(v) for v in box)).save(tmp_path / name / f"{r.id}_{k}.png")
    detector = FewShotDetector(glyph_run)
    detector.learn(tmp_path)
    assert detector.classes == tuple(sorted({n for r in records[:2] for n in r.names}))
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
        shown = image.embeddings["repmet"], detector.learnt.representatives, FewShotRule(scale=2.0)
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


def test_without_supports_it_detects_its_base_classes(glyph_run, photos, capsys, tmp_path) -> None:
    """As mmdet's own inference says."""
    from mmdet.apis import inference_detector
    from mmengine.registry import DefaultScope

    detector = FewShotDetector(glyph_run)
    with open(glyph_run / "scenes/classes_base.txt") as file:
        assert list(detector.classes) == file.read().split()
    found = everything(detector, photos)
    for r in images_to_look_at(photos):
        model = detector.model
        model.cfg = detector.cfg.copy()
        model.cfg.test_dataloader = {"dataset": {"pipeline": detector.cfg.test_pipeline}}
        with DefaultScope.overwrite_default_scope("mmdet"), contextlib.redirect_stdout(io.StringIO()):
            expected = inference_detector(model, str(r.path)).pred_instances.cpu().numpy()
        one = found[r.path.name]
        order = np.argsort(-expected.scores, kind="stable")
        np.testing.assert_allclose(one.scores, expected.scores[order], atol=1e-6)
        np.testing.assert_allclose(one.boxes, expected.bboxes[order], atol=1e-3)
        assert (one.nearest == -1).all()
    assert detect.main([str(glyph_run), "--images", str(photos), "--out", str(tmp_path)]) == 0
    assert len(json.loads((tmp_path / "results.json").read_text())) == sum((f.scores >= 0.05).sum() for f in found.values())


def test_the_command_writes_coco_results_and_pictures(taught, glyph_run, support, photos, tmp_path, capsys) -> None:
    saved, out = tmp_path / "mine.pth", tmp_path / "out"
    arguments = [glyph_run, "--support", support, "--images", photos, "--save", saved, "--out", out, "--min-score", "0.01"]
    assert detect.main([*map(str, arguments), "--show", "0.01"]) == 0
    said = capsys.readouterr()
    assert "4 images" in said.out and "looking" in said.err
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(out / "images.json")) if "annotations" in json.loads((out / "images.json").read_text()) else COCO()
        coco.dataset = json.loads((out / "images.json").read_text())
        coco.createIndex()
        read = coco.loadRes(str(out / "results.json"))
    expected = dict(taught.detect(photos, min_score=0.01))
    assert len(coco.imgs) == len(expected) == 4
    for number, image in coco.imgs.items():
        rows = read.imgToAnns[number]
        one = expected[Path(image["file_name"])]
        assert [coco.cats[row["category_id"]]["name"] for row in rows] == [taught.classes[k] for k in one.labels]
        np.testing.assert_allclose([row["score"] for row in rows], one.scores, atol=1e-6)
        got = np.array([row["bbox"] for row in rows])
        np.testing.assert_allclose(np.c_[got[:, :2], got[:, :2] + got[:, 2:]], one.boxes, atol=0.02)
    pictures = sorted((out / "pictures").iterdir())
    assert len(pictures) == 4
    with Image.open(pictures[0]) as picture:
        assert picture.height > 200  # the image and a band of supports
    assert detect.main([str(glyph_run), "--support", str(saved), "--images", str(photos), "--out", str(out)]) == 0
    first = json.loads((out / "results.json").read_text())
    assert all(row["score"] >= 0.05 for row in first)


def test_fine_tuning_lasts_until_the_next_support_set(taught, glyph_run, support, photos, tmp_path, capsys) -> None:
    detector = FewShotDetector(glyph_run)
    digest = weights_digest(detector.model)
    detector.learn(support, finetune=FinetuneRule(epochs=2, lr=0.05, train="head"))
    tuned, plain = everything(detector, photos), everything(taught, photos)
    assert any(len(tuned[n].scores) != len(plain[n].scores) or (tuned[n].scores != plain[n].scores).any() for n in plain)
    detector.save(tmp_path / "tuned.pth")
    again = FewShotDetector(glyph_run)
    again.load(tmp_path / "tuned.pth")
    same(everything(again, photos), tuned)
    for other in (detector, again):
        other.learn(support)
        assert weights_digest(other.model) == digest
        same(everything(other, photos), plain)
    arguments = [str(glyph_run), "--support", str(support), "--finetune", "--images", str(photos)]
    assert detect.main([*arguments, "--out", str(tmp_path / "out")]) == 0, capsys.readouterr().err
    arguments[2] = str(tmp_path / "tuned.pth")
    assert detect.main([*arguments, "--out", str(tmp_path / "out")]) == 2
    assert "--finetune needs the support images" in capsys.readouterr().err


REFUSALS = {
    "no such image or folder": ["--images", "{tmp}/nowhere.jpg"],
    "holds no image": ["--images", "{tmp}/empty"],
    r"text\.png: cannot be read as an image": ["--images", "{tmp}/text.png"],
    "no such folder or file of supports": ["--images", "{photos}", "--support", "{tmp}/nowhere"],
    "no supports are there": ["--images", "{photos}", "--support", "{tmp}/empty"],
    r"not a file of representatives": ["--images", "{photos}", "--support", "{run}/epoch_1.pth"],
    r"text\.png: (damaged, or no checkpoint|holds objects)": ["--images", "{photos}", "--support", "{tmp}/text.png"],
    r"a\.json: not a COCO file": ["--images", "{photos}", "--support", "{tmp}/a.json"],
    r"in the class folder\(s\) cup": ["--images", "{photos}", "--support", "{tmp}/classes"],
    "name one by --support": ["--images", "{photos}", "--save", "{tmp}/x.pth"],
    "nothing to do": ["--support", "{photos}"],
    "are in .0, 1.": ["--images", "{photos}", "--min-score", "2"],
}


@pytest.mark.parametrize("message", REFUSALS)
def test_bad_input_is_one_message(message, glyph_run, photos, tmp_path, capsys) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "classes/cup").mkdir(parents=True)
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "a.json").write_text('{"images": []}')
    filled = [a.format(tmp=tmp_path, photos=photos, run=glyph_run) for a in REFUSALS[message]]
    assert detect.main([str(glyph_run), *filled, "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert sum(line.startswith("error: ") for line in said.splitlines()) == 1 and "Traceback" not in said
    assert re.search(message, said), said
    assert not (tmp_path / "out").exists()


def test_representatives_of_another_checkpoint_are_refused(taught, glyph_run, tmp_path) -> None:
    taught.save(tmp_path / "mine.pth")
    other = torch.load(glyph_run / "epoch_1.pth", weights_only=True)
    other["state_dict"]["roi_head.bbox_head.fc_embed.weight"] += 1e-3
    torch.save(other, tmp_path / "epoch_2.pth")
    with pytest.raises(ValueError, match=r"mine\.pth: was made with another checkpoint"):
        FewShotDetector(tmp_path / "epoch_2.pth").load(tmp_path / "mine.pth")
    with pytest.raises(ValueError, match="nothing to save"):
        FewShotDetector(tmp_path / "epoch_2.pth").save(tmp_path / "x.pth")


def test_the_five_lines_of_the_readme(glyph_run, support, photos, tmp_path, monkeypatch, capsys) -> None:
    text = README.read_text(encoding="utf-8")
    start = text.index("```python\nfrom detection.few_shot_detector")
    code = text[start + len("```python\n") : text.index("```", start + 3)]
    assert sum(bool(line) for line in code.splitlines()) == 5
    monkeypatch.chdir(tmp_path)
    (tmp_path / "work_dirs").mkdir()
    (tmp_path / "work_dirs/demo").symlink_to(glyph_run)
    (tmp_path / "my_support").symlink_to(support)
    (tmp_path / "my_photos").symlink_to(photos)
    exec(compile(code, "README.md", "exec"), {})
    said = capsys.readouterr().out
    assert said.count("my_photos/") == 4 and "novel_" in said
