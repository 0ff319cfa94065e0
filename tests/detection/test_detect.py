"""Few-shot detection on one's own images, by the command: its results and pictures, fine-tuning, and its refusals."""

import contextlib
import io
import json
import re
import shutil
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from found import everything, records_of, same
from PIL import Image
from pycocotools.coco import COCO

from repmet.detection import detect
from repmet.detection.few_shot_detector import FewShotDetector
from repmet.detection.scoring.finetune import FinetuneRule
from repmet.model_definitions.weights_digest import weights_digest


def test_without_supports_it_detects_its_base_classes(glyph_run, photos, capsys, tmp_path) -> None:
    """As mmdet's own inference says."""
    from mmdet.apis import inference_detector
    from mmengine.registry import DefaultScope

    detector = FewShotDetector(glyph_run)
    with open(glyph_run / "scenes/classes_base.txt") as file:
        assert list(detector.classes) == file.read().split()
    results = everything(detector, photos)
    for r in records_of(photos):
        model = detector.model
        model.cfg = detector.cfg.copy()
        model.cfg.test_dataloader = {"dataset": {"pipeline": detector.cfg.test_pipeline}}
        with DefaultScope.overwrite_default_scope("mmdet"), contextlib.redirect_stdout(io.StringIO()):
            expected = inference_detector(model, str(r.path)).pred_instances.cpu().numpy()
        result = results[r.path.name]
        order = np.argsort(-expected.scores, kind="stable")
        np.testing.assert_allclose(result.scores, expected.scores[order], atol=1e-6)
        np.testing.assert_allclose(result.boxes, expected.bboxes[order], atol=1e-3)
        assert (result.nearest == -1).all()
    assert detect.main([str(glyph_run), "--images", str(photos), "--out", str(tmp_path)]) == 0
    assert len(json.loads((tmp_path / "results.json").read_text())) == sum(
        (f.scores >= 0.05).sum() for f in results.values()
    )


def test_what_it_drew_is_not_looked_at_again(glyph_run, photos, capsys, tmp_path) -> None:
    shutil.copytree(photos, tmp_path / "mine")
    for _ in range(2):
        assert detect.main([str(glyph_run), "--images", str(tmp_path / "mine"), "--out", str(tmp_path / "mine/found")]) == 0
        assert "4 images" in capsys.readouterr().out


FORMATS = (
    ("", "images.json"),
    ("--format jsonl", "detections.jsonl"),
    ("--format yolo", "labels/wide.txt"),
    ("--format yolo --copy-images", "images/wide.png"),
    ("--format voc", "Annotations/wide.xml"),
    ("", "pictures/holiday.png"),
)


@pytest.mark.parametrize(("options", "name"), FORMATS)
def test_nobody_elses_file_is_replaced(glyph_run, photos, capsys, tmp_path, monkeypatch, options: str, name: str) -> None:
    """Refused before the detector is opened; what the command wrote itself is written again."""
    words = [str(glyph_run), "--images", str(photos), "--out", str(tmp_path / "set"), *options.split()]
    path = tmp_path / "set" / name
    path.parent.mkdir(parents=True)
    path.write_text("by hand")
    with monkeypatch.context() as context:
        context.setattr(detect, "in_torch", lambda args: pytest.fail("opened"))
        assert detect.main(words) == 2
    said = capsys.readouterr().err
    place = path.parent if name.startswith("pictures") else path
    assert said.startswith(f"error: {place}: ") and said.count("\n") == 1
    assert [other for other in (tmp_path / "set").rglob("*") if other.is_file()] == [path]
    assert path.read_text() == "by hand"
    path.unlink()
    assert [detect.main(words), detect.main(words)] == [0, 0]
    if place is path:
        path.write_text("corrected")
        assert detect.main(words) == 2 and path.read_text() == "corrected"


def test_a_name_with_a_line_break_is_told_on_a_line(glyph_run, photos, capsys, tmp_path) -> None:
    (tmp_path / "mine").mkdir()
    shutil.copy(photos / "wide.png", tmp_path / "mine/a\n\x1b[31mb.png")
    (tmp_path / "mine/c\nd.png").write_bytes(b"none")
    assert detect.main([str(glyph_run), "--images", str(tmp_path / "mine"), "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr()
    assert "/a\\n\\x1b[31mb.png: " in said.out and "\x1b" not in said.out
    (line,) = (line for line in said.err.splitlines() if line.startswith("passed over"))
    assert "/c\\nd.png" in line


def test_the_command_writes_coco_results_and_pictures(taught, glyph_run, support, photos, tmp_path, capsys) -> None:
    saved, out = tmp_path / "mine.pth", tmp_path / "out"
    arguments = [glyph_run, "--support", support, "--images", photos, "--save", saved, "--out", out, "--min-score", "0.01"]
    assert detect.main([*map(str, arguments), "--show", "0.01"]) == 0
    said = capsys.readouterr()
    assert "4 images" in said.out
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(out / "images.json")) if "annotations" in json.loads((out / "images.json").read_text()) else COCO()
        coco.dataset = json.loads((out / "images.json").read_text())
        coco.createIndex()
        read = coco.loadRes(str(out / "results.json"))
    expected = {result.image.path: result for result in taught.detect(photos, min_score=0.01)}
    assert len(coco.imgs) == len(expected) == 4
    for number, image in coco.imgs.items():
        rows = read.imgToAnns[number]
        result = expected[Path(image["file_name"])]
        assert [coco.cats[row["category_id"]]["name"] for row in rows] == [taught.classes[k] for k in result.labels]
        np.testing.assert_allclose([row["score"] for row in rows], result.scores, atol=1e-6)
        got = np.array([row["bbox"] for row in rows])
        np.testing.assert_allclose(np.c_[got[:, :2], got[:, :2] + got[:, 2:]], result.boxes, atol=0.02)
    pictures = sorted((out / "pictures").glob("*.png"))
    assert len(pictures) == 4
    with Image.open(pictures[0]) as picture:
        assert picture.height > 200  # the image and a band of supports
    assert detect.main([str(glyph_run), "--support", str(saved), "--images", str(photos), "--out", str(out)]) == 0
    first = json.loads((out / "results.json").read_text())
    assert all(row["score"] >= 0.05 for row in first)


def test_a_damaged_image_costs_the_others_nothing(taught, glyph_run, support, photos, tmp_path, capsys) -> None:
    """One that is cut off and one that no detector can scale: a line each, exit code 1, and all else as without them."""
    folder = tmp_path / "photos"
    shutil.copytree(photos, folder)
    whole = (photos / "wide.png").read_bytes()
    (folder / "cut_off.png").write_bytes(whole[: len(whole) // 2])
    Image.new("RGB", (3000, 2)).save(folder / "thin.png")
    (folder / "again.png").symlink_to(folder / "wide.png")
    command = [str(glyph_run), "--support", str(support), "--out", str(tmp_path / "out"), "--images"]
    assert detect.main([*command, str(folder / "wide.png"), str(folder)]) == 1
    said = capsys.readouterr()
    lines = [line for line in said.err.splitlines() if line.startswith("passed over: ")]
    assert len(lines) == 2 and "Traceback" not in said.err
    assert "cut_off.png: cannot be read as an image" in lines[0] and "thin.png: damaged, or too odd an image" in lines[1]
    results = json.loads((tmp_path / "out/results.json").read_text())
    images = json.loads((tmp_path / "out/images.json").read_text())["images"]
    names = [Path(i["file_name"]).name for i in images]
    assert f"looked at once only: {folder / 'again.png'} and 1 more, the same file as another one" in said.err
    assert sorted(names) == sorted(p.name for p in photos.iterdir()), "each file once, by whatever way it is named"
    expected = everything(taught, photos)
    assert len(results) == sum(int((result.scores >= 0.05).sum()) for result in expected.values())


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
    r"text\.png: a photo alone does not say where": ["--images", "{photos}", "--support", "{tmp}/text.png"],
    r"text\.pth: damaged, or no checkpoint": ["--images", "{photos}", "--support", "{tmp}/text.pth"],
    r"file: is a file; a folder is needed": ["--images", "{photos}", "--support", "{support}", "--out", "{tmp}/file/out"],
    r"save.*file: is a file; a folder is needed": ["--support", "{support}", "--save", "{tmp}/save/file/x.pth"],
    r"a\.json: not a COCO file": ["--images", "{photos}", "--support", "{tmp}/a.json"],
    r"no image in the class folder cup": ["--images", "{photos}", "--support", "{tmp}/classes"],
    r"text\.png: is there, and is no file of learnt classes": ["--support", "{support}", "--save", "{tmp}/text.png"],
    "name one by --support": ["--images", "{photos}", "--save", "{tmp}/x.pth"],
    "--marks says how a support set was marked": ["--images", "{photos}", "--marks", "complete"],
    r"--marks is for support images; .*text\.pth keeps": [
        *("--images", "{photos}", "--support", "{tmp}/text.pth", "--marks", "partial")
    ],
    "nothing to do": ["--support", "{photos}"],
    "--min-score is in .0, 1., not 2": ["--images", "{photos}", "--min-score", "2"],
}


@pytest.mark.parametrize("message", REFUSALS)
def test_bad_input_is_one_message(message, glyph_run, photos, support, tmp_path, capsys) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "classes/cup").mkdir(parents=True)
    (tmp_path / "save").mkdir()
    for name in ("text.png", "text.pth", "file", "save/file"):
        (tmp_path / name).write_text("no picture")
    (tmp_path / "a.json").write_text('{"images": []}')
    filled = [a.format(tmp=tmp_path, photos=photos, run=glyph_run, support=support) for a in REFUSALS[message]]
    assert detect.main([str(glyph_run), "--out", str(tmp_path / "out"), *filled]) == 2
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


def test_what_was_found_before_an_interruption_is_written(glyph_run, support, photos, tmp_path, capsys, monkeypatch) -> None:
    looked = FewShotDetector.detect

    def interrupted(*args, **options):
        yield from islice(looked(*args, **options), 2)
        raise KeyboardInterrupt

    monkeypatch.setattr(FewShotDetector, "detect", interrupted)
    words = [str(glyph_run), "--support", str(support), "--images", str(photos), "--out", str(tmp_path)]
    assert detect.main(words) == 130
    assert len(json.loads((tmp_path / "images.json").read_text())["images"]) == 2
    assert "interrupted: 2 images were not looked at" in capsys.readouterr().err
