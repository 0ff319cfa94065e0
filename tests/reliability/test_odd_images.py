"""Odd images through the commands that read them: each is looked at, or one line names it; none spoils the others."""

import json
import re
from pathlib import Path

import pytest
from odd_images import odd_images
from PIL import Image

from repmet.classification import embed, predict
from repmet.classification.embedding_file import read_embeddings
from repmet.classification.few_shot_classifier import FewShotClassifier
from repmet.data.readers.image_inputs import image_inputs
from repmet.detection import detect, label
from repmet.errors import exit_code


@pytest.fixture
def support(tmp_path: Path) -> Path:
    for name, colour in (("red", (200, 30, 30)), ("blue", (30, 30, 200))):
        (tmp_path / "support" / name).mkdir(parents=True)
        Image.new("RGB", (32, 24), colour).save(tmp_path / "support" / name / "a.png")
    return tmp_path / "support"


def looked_at(command: str, words: list[str], detector) -> int:
    if command == "detect":
        return detect.run(detect.command_line("repmet detect").parse_args(words), lambda args: detector)
    args = label.command_line().parse_args(words)
    return label.run(args, image_inputs(args.images), detector)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("command", ["detect", "label"])
def test_each_is_looked_at_or_named(command, seed, support, detector, outcomes, tmp_path, capsys) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    images = {image.name: image for image in odd_images(seed)}
    for image in images.values():
        (folder / image.name).write_bytes(image.content)
    words = ["--support", str(support), "--images", str(folder), "--out", str(tmp_path / "out")]
    words += ["--accept", "0.05"] if command == "label" else ["--show", "1"]
    assert looked_at(command, words, detector) in (0, 1)
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("passed over: ")]
    named = [re.search(r"images/(\d{4}\.\w+)", line)[1] for line in said]
    listing = "annotations.json" if command == "label" else "images.json"
    rows = json.loads((tmp_path / "out" / listing).read_text(encoding="utf-8"))["images"]
    seen = [Path(row["file_name"]).name for row in rows]
    assert sorted(seen + named) == sorted(images)
    missed = [image for name, image in images.items() if image.whole and name not in seen]
    assert not missed, [(image.name, image.case) for image in missed]
    for name, image in images.items():
        case = "mode" if image.case.startswith("mode ") else image.case
        outcomes[f"images: {case}", command, "right" if name in seen else "refused"] += 1


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("command", ["classify", "embed"])
def test_each_is_classified_or_embedded_or_named(command, seed, support, checkpoint, outcomes, tmp_path, capsys) -> None:
    (tmp_path / "images").mkdir()
    images = {image.name: image for image in odd_images(seed)}
    for image in images.values():
        (tmp_path / "images" / image.name).write_bytes(image.content)
    looked = ["--images", str(tmp_path / "images")]
    if command == "embed":
        assert embed.main([str(checkpoint), *looked, "--out", str(tmp_path / "all.npz")]) == 1
        names = read_embeddings(tmp_path / "all.npz").names
    else:
        words = [str(checkpoint), "--support", str(support), *looked, "--out", str(tmp_path / "out")]
        assert predict.main(words) == 1
        names = [row["image"] for row in json.loads((tmp_path / "out/predictions.json").read_text(encoding="utf-8"))]
    seen = [Path(name).name for name in names]
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("passed over: ")]
    named = [re.search(r"images/(\d{4}\.\w+)", line)[1] for line in said]
    assert sorted(seen + named) == sorted(images)
    assert not [(image.name, image.case) for name, image in images.items() if image.whole and name not in seen]
    for name, image in images.items():
        case = "mode" if image.case.startswith("mode ") else image.case
        outcomes[f"images: {case}", command, "right" if name in seen else "refused"] += 1


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_each_shows_a_class_or_is_named(seed, checkpoint, outcomes, tmp_path, capsys) -> None:
    """As the image of a class folder, beside one that is as it should be."""
    classifier, faults = FewShotClassifier(checkpoint), []
    for image in odd_images(seed):
        folder = tmp_path / Path(image.name).stem
        for name in ("plain", "odd"):
            (folder / name).mkdir(parents=True)
        Image.new("RGB", (32, 24), (200, 30, 30)).save(folder / "plain/a.png")
        (folder / "odd" / image.name).write_bytes(image.content)
        capsys.readouterr()
        code = exit_code(lambda folder=folder: classifier.learn(folder) and None)
        errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        if (code == 0) != (not errors) or (code and (image.whole or len(errors) != 1 or image.name not in errors[0])):
            faults.append((image.name, image.case, code, errors))
        case = "mode" if image.case.startswith("mode ") else image.case
        outcomes[f"class folders: {case}", "classify --support", "refused" if code else "right"] += 1
    assert not faults, faults
