"""The command `classification.predict`: its files, its exit codes, and what it refuses."""

import csv
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from repmet.classification import predict
from repmet.data.readers.image_inputs import ImageInput

COLOURS = ("blue", "green", "red")


@pytest.fixture
def photos(picture: Callable[..., np.ndarray], tmp_path: Path) -> Path:
    """Two pictures a class in folders of their names, one damaged, and one of another kind."""
    for name in COLOURS:
        (tmp_path / "photos" / name).mkdir(parents=True)
        for k in range(2):
            Image.fromarray(picture(name, 70 + k)).save(tmp_path / "photos" / name / f"{k}.png")
    (tmp_path / "photos" / "others").mkdir()
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(tmp_path / "photos" / "others" / "black.png")
    return tmp_path / "photos"


def test_writes_tables_and_a_page(checkpoint, folders, photos, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    arguments = [
        str(checkpoint),
        "--support",
        str(folders),
        "--images",
        str(photos),
        "--out",
        str(out),
        "--none-share",
        "0.1",
    ]
    assert predict.main([*arguments, "--labelled", "--save", str(tmp_path / "classes.pth")]) == 0
    printed = capsys.readouterr().out
    assert "3 classes: blue (4), green (4), red (4)" in printed
    assert "images of other folders: 1, called none of the classes: 1" in printed
    assert re.search(r"right: [56] of 6 images of the classes", printed)
    head, *rows = csv.reader((out / "predictions.csv").read_text().splitlines())
    names = ["image", "class", "probability", "distance", "strangeness", "nearest_support", "nearest_support_class"]
    assert head == [*names, "p(blue)", "p(green)", "p(red)"]
    assert len(rows) == 7
    kept = json.loads((out / "predictions.json").read_text())
    for row, entry in zip(rows, kept, strict=True):
        assert row[0] == entry["image"] and row[1] == entry["class"]
        assert sum(map(float, row[7:])) == pytest.approx(1, abs=1e-5)
        assert max(map(float, row[7:])) == float(row[2])
    page = (out / "index.html").read_text()
    for source in re.findall(r'src="([^"]+)"', page):
        assert (out / source).is_file()
    assert page.count("<tr>") == 8 and (out / "confusion.png").is_file()

    again = tmp_path / "again"
    saved = ["--support", str(tmp_path / "classes.pth"), "--images", str(photos / "red" / "0.png"), "--out", str(again)]
    assert predict.main(saved) == 0  # the file knows its encoder
    (row,) = json.loads((again / "predictions.json").read_text())
    entry = next(entry for entry in kept if entry["image"] == row["image"])
    assert row.keys() == entry.keys()
    for key, value in row.items():  # one image and seven are multiplied in other orders: the last digit may differ
        numbers = isinstance(value, float | dict)
        assert value == (pytest.approx(entry[key], abs=2e-6) if numbers else entry[key]), key


@pytest.mark.parametrize("name", ["predictions.csv", "predictions.json", "index.html", "page/mine.jpg"])
def test_nobody_elses_file_is_replaced(checkpoint, folders, photos, tmp_path, capsys, monkeypatch, name: str) -> None:
    """Refused before the images are looked at; what the command wrote itself is written again."""
    path = tmp_path / "site" / name
    words = [str(checkpoint), "--support", str(folders), "--images", str(photos), "--out", str(tmp_path / "site")]
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    with monkeypatch.context() as context:
        context.setattr(predict, "open_classifier", lambda *_: pytest.fail("opened"))
        assert predict.main(words) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {path.parent if name.startswith('page') else path}: ") and said.count("\n") == 1
    assert path.read_text() == "mine" and [p for p in (tmp_path / "site").rglob("*") if p.is_file()] == [path]
    path.unlink()
    assert [predict.main(words), predict.main([*words, "--none-share", "0.1"])] == [0, 0]


def test_its_own_page_is_not_looked_at(checkpoint, folders, photos, tmp_path, capsys) -> None:
    """Where results lie among the images, or among the supports."""
    images = [str(checkpoint), "--support", str(folders), "--images", str(photos), "--out", str(photos)]
    shutil.copytree(folders, tmp_path / "mine")
    supports = [str(checkpoint), "--support", str(tmp_path / "mine"), "--images", str(photos / "red/0.png")]
    for words in (images, [*supports, "--out", str(tmp_path / "mine")]):
        said = []
        for _ in range(2):
            assert predict.main(words) == 0
            said.append(capsys.readouterr().out)
        assert said[0] == said[1]


def test_tunes_and_says_by_what(checkpoint, folders, photos, tmp_path, capsys) -> None:
    arguments = [str(checkpoint), "--support", str(folders), "--images", str(photos / "red"), "--out", str(tmp_path / "out")]
    assert predict.main([*arguments, "--tune", "5"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("tuned in "))
    pattern = r"tuned in \d+ s, by 12 images that were left out in turn: right (.*) -> (.*) %, -ln p (.*) -> (.*)"
    before, after, loss_before, loss_after = map(float, re.fullmatch(pattern, line).groups())
    assert after >= before and loss_after <= loss_before
    alone = [str(checkpoint), "--support", "LABELS", "--images", str(photos / "red"), "--out", str(tmp_path / "out")]
    (tmp_path / "labels.csv").write_text("image,class\n" + "".join(f"{folders / n / '0.png'},{n}\n" for n in COLOURS))
    assert predict.main([word.replace("LABELS", str(tmp_path / "labels.csv")) for word in alone] + ["--tune"]) == 0
    assert "not tuned: no class has two images" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        predict.main([*arguments, "--tune", "never"])


def test_a_csv_of_labels_and_a_damaged_image(checkpoint, folders, photos, tmp_path, capsys) -> None:
    lines = [f"{folders / name / f'{k}.png'},{name}" for name in COLOURS for k in range(2)]
    (tmp_path / "labels.csv").write_text("\ufeffimage,class\n" + "\n".join(lines) + "\n")
    damaged = photos / "red" / "damaged.png"
    damaged.write_bytes((photos / "red" / "0.png").read_bytes()[:70])
    arguments = ["--support", str(tmp_path / "labels.csv"), "--images", str(photos / "red"), "--out", str(tmp_path / "out")]
    for size in ((1, 2000), (3000, 2)):
        Image.new("RGB", size).save(photos / "red" / f"thin_{size[0]}.png")
    assert predict.main([str(checkpoint), *arguments, "--modes", "all"]) == 1
    printed = capsys.readouterr()
    assert printed.err.count("passed over: ") == 1 and str(damaged) in printed.err
    assert "4 images" in printed.out and len((tmp_path / "out/predictions.csv").read_text().splitlines()) == 5
    page = (tmp_path / "out/index.html").read_text()
    assert all((tmp_path / "out" / source).is_file() for source in re.findall(r'src="([^"]+)"', page))


def test_an_image_that_is_gone_when_its_picture_is_drawn_costs_the_answers_nothing(
    checkpoint, folders, photos, tmp_path, monkeypatch
) -> None:
    """An address that answered once and not again."""
    opened = []
    open_image = ImageInput.open

    def once(image: ImageInput) -> Image.Image:
        if image.name in opened and "red" in image.name and str(photos) in image.name:
            raise ConnectionError(f"{image.name}: does not answer")
        opened.append(image.name)
        return open_image(image)

    monkeypatch.setattr(ImageInput, "open", once)
    arguments = ["--support", str(folders), "--images", str(photos), "--out", str(tmp_path / "out")]
    assert predict.main([str(checkpoint), *arguments]) == 0
    assert len(json.loads((tmp_path / "out/predictions.json").read_text())) == 7


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--support", "FOLDERS"], "nothing to do"),
        (["--support", "FOLDERS", "--images", "typo.jpg"], "typo.jpg: no such image or folder"),
        (["--support", "typo", "--images", "PHOTOS"], "typo: no such folder"),
        (["--support", "CHECKPOINT", "--images", "PHOTOS"], "not a file of learnt classes"),
        (["--support", "CHECKPOINT", "--images", "PHOTOS", "--modes", "2"], "are learnt already"),
        (["--support", "FOLDERS", "--images", "PHOTOS", "--none-share", "0.01"], "takes 99 support images"),
    ],
)
def test_refuses_in_one_line(arguments, message, checkpoint, folders, photos, capsys) -> None:
    places = {"FOLDERS": str(folders), "PHOTOS": str(photos), "CHECKPOINT": str(checkpoint)}
    words = [places.get(word, word) for word in arguments]
    assert predict.main([str(checkpoint), *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and error.count("\n") == 1
