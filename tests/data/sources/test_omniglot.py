"""Omniglot: Vinyals' rule, the order of classes and drawings, the cache, the download, and archives that are not whole."""

import hashlib
import io
import os
import random
import tempfile
import zipfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from torchvision.datasets import Omniglot

from repmet.data.files import tensor_cache
from repmet.data.sources import omniglot

CHARACTERS = {
    "background": ("Latin/character01", "Latin/character02", "Armenian/character01", "Gurmukhi/character40"),
    "evaluation": ("Gurmukhi/character41", "Gurmukhi/character42", "Kannada/character07"),
}


@cache
def png(seed: int) -> bytes:
    """A scrawl as Omniglot stores it: 105 x 105, one bit, ink 0."""
    rng = np.random.default_rng(seed)
    image = Image.new("1", (105, 105), 1)
    ImageDraw.Draw(image).line([tuple(point) for point in rng.integers(5, 100, (6, 2)).tolist()], fill=0, width=3)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def members(part: str) -> dict[str, bytes]:
    first = 0 if part == "background" else 100
    return {
        f"images_{part}/{character}/{first + i:04d}_{drawer:02d}.png": png(1000 * (first + i) + drawer)
        for i, character in enumerate(CHARACTERS[part])
        for drawer in range(1, 21)
    }


def write(folder: Path, part: str, files: dict[str, bytes], name: str = "images_{part}.zip") -> Path:
    path = folder / name.format(part=part)
    shuffled = list(files)
    random.Random(0).shuffle(shuffled)
    with zipfile.ZipFile(path, "w") as pack:
        pack.writestr("__MACOSX/._x.png", b"")
        for member in shuffled:
            pack.writestr(member, files[member])
    return path


@cache
def archive(part: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return write(Path(folder), part, members(part)).read_bytes()


@pytest.fixture
def small(monkeypatch, tmp_path):
    """A folder with a small Omniglot of seven characters."""
    monkeypatch.setattr(omniglot, "CHARACTERS", {part: len(names) for part, names in CHARACTERS.items()})
    monkeypatch.setattr(omniglot, "VINYALS_CHARACTERS", {"train": 4, "val": 1, "test": 2})
    monkeypatch.setattr(tensor_cache, "CACHE", tmp_path / "cache")
    root = tmp_path / "root"
    root.mkdir()
    for part in CHARACTERS:
        (root / f"images_{part}.zip").write_bytes(archive(part))
    return root


def expected(seed: int, size: int, rotation: int) -> np.ndarray:
    """In the order of the published codes: grey, turned, then scaled."""
    image = Image.open(io.BytesIO(png(seed))).convert("L").rotate(rotation)
    return np.array(image.resize((size, size), Image.Resampling.BILINEAR)).astype(int)


def test_vinyals_classes_are_characters_in_four_rotations(small):
    train = omniglot.read(small, "train", size=20)
    characters = ["Gurmukhi/character40", "Gurmukhi/character41", "Latin/character01", "Latin/character02"]
    assert train.classes == tuple(f"{c}/rot{r}" for c in characters for r in ("000", "090", "180", "270"))
    assert train.images.shape == (4 * 4 * 20, 1, 20, 20) and train.counts.tolist() == [20] * 16
    first = {"Gurmukhi/character40": 3000, "Gurmukhi/character41": 100_000, "Latin/character02": 1000}
    for character, seed in first.items():
        for rotation in (0, 90, 180, 270):
            label = train.classes.index(f"{character}/rot{rotation:03d}")
            drawn = train.images[train.labels == label, 0].numpy().astype(int)
            for drawer in (1, 2, 20):
                # Pillow scales along the lines first, so turning before or after may differ by one grey level.
                assert abs(drawn[drawer - 1] - expected(seed + drawer, 20, rotation)).max() <= 1
    assert train.images.float().mean() > 150  # paper is 255


def test_characters_that_are_not_turned(small):
    turned, plain = omniglot.read(small, "train"), omniglot.read(small, "train", rotations=False)
    assert [f"{name}/rot000" for name in plain.classes] == [name for name in turned.classes if name.endswith("000")]
    upright = torch.tensor([name.endswith("000") for name in turned.classes])[turned.labels]
    assert torch.equal(plain.images, turned.images[upright])


def test_the_other_splits(small):
    assert omniglot.read(small, "val").classes == tuple(f"Armenian/character01/rot{r}" for r in ("000", "090", "180", "270"))
    test = omniglot.read(small, "test")
    assert {c.rpartition("/")[0] for c in test.classes} == {"Gurmukhi/character42", "Kannada/character07"}
    both = omniglot.read(small, "trainval")
    assert set(both.classes) == set(omniglot.read(small, "train").classes + omniglot.read(small, "val").classes)
    assert len(both) == 5 * 4 * 20
    background = omniglot.read(small, "background")
    assert background.classes == tuple(sorted(CHARACTERS["background"])) and len(background) == 80
    assert omniglot.read(small, "evaluation", size=105).images.shape == (60, 1, 105, 105)
    assert omniglot.alphabet_of(test.classes[0]) == "Gurmukhi"


def test_the_images_are_decoded_once(small, monkeypatch):
    first = omniglot.read(small, "train")
    assert [p.name.startswith("omniglot_bilinear_28_") for p in small.glob("*.pt")] == [True]
    monkeypatch.setattr(omniglot, "shrink", lambda *_: pytest.fail("decoded again"))
    assert torch.equal(omniglot.read(small, "train").images, first.images)


def test_other_archives_do_not_meet_an_old_cache(small):
    old = omniglot.read(small, "evaluation").images
    files = {member: png(7) for member in members("evaluation")}
    write(small, "evaluation", files)
    assert not torch.equal(omniglot.read(small, "evaluation").images, old)


def test_a_damaged_cache_is_made_anew(small):
    whole = omniglot.read(small, "val").images
    (cache,) = small.glob("*.pt")
    cache.write_bytes(cache.read_bytes()[:500])
    with pytest.warns(UserWarning, match="cannot be read .*; it is made anew"):
        assert torch.equal(omniglot.read(small, "val").images, whole)
    assert torch.equal(omniglot.read(small, "val").images, whole)


def test_a_shut_folder_is_left_alone(small, tmp_path):
    os.chmod(small, 0o555)  # root could write all the same
    try:
        omniglot.read(small, "val")
        assert not list(small.glob("*.pt")) and len(list((tmp_path / "cache").glob("omniglot_bilinear_28_*.pt"))) == 1
        os.chmod(tmp_path / "cache", 0o555)
        with pytest.warns(UserWarning, match="omniglot_bilinear_20 is decoded again each time"):
            omniglot.read(small, "val", size=20)
        assert len(list((tmp_path / "cache").iterdir())) == 1
    finally:
        os.chmod(small, 0o755)
        os.chmod(tmp_path / "cache", 0o755)


@pytest.mark.parametrize("name", ["omniglot-py/images_{part}.zip", "omniglot_images_{part}.zip"])
def test_archives_are_found_where_people_keep_them(small, name):
    (small / "omniglot-py").mkdir()
    for part in CHARACTERS:
        (small / f"images_{part}.zip").rename(small / name.format(part=part))
    assert len(omniglot.read(small, "val")) == 80


def test_missing_archives_are_fetched(small, server, monkeypatch, tmp_path, capsys):
    for part in CHARACTERS:
        server.files[f"/images_{part}.zip"] = (small / f"images_{part}.zip").read_bytes()
    monkeypatch.setattr(Omniglot, "download_url_prefix", server.url("").rstrip("/"))
    md5 = {name[1:-4]: hashlib.md5(content).hexdigest() for name, content in server.files.items() if "images" in name}
    monkeypatch.setattr(Omniglot, "zips_md5", md5)
    server.drop_after = [1000]
    images = omniglot.read(tmp_path / "new", "trainval")
    assert torch.equal(images.images, omniglot.read(small, "trainval").images)
    assert server.asked == [None, "bytes=1000-", None]
    assert "images_background.zip: " in capsys.readouterr().err
    monkeypatch.setattr(Omniglot, "zips_md5", dict.fromkeys(md5, "0" * 32))
    with pytest.raises(ValueError, match=r"could not fetch images_background\.zip"):
        omniglot.read(tmp_path / "newer", "train")


def spoil(folder: Path, how: str) -> None:
    files = members("evaluation")
    member = "images_evaluation/Kannada/character07/0102_05.png"
    if how == "drawing":
        del files[member]
    elif how == "character":
        files = {name: content for name, content in files.items() if "Kannada" not in name}
    elif how == "name":
        files = {name.replace("Kannada", "Korean"): content for name, content in files.items()}
    elif how == "png":
        files[member] = files[member][:60]
    path = write(folder, "evaluation", files)
    if how == "zip":
        path.write_bytes(path.read_bytes()[:5000])


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("drawing", r"images_evaluation\.zip: not the whole of .* 3 characters of 20 drawings; Kannada/character07 has 19"),
        ("character", r"images_evaluation\.zip: not the whole of .*; there are 2\. Delete it"),
        ("name", "5 characters are train by name, not 4"),
        ("png", r"images_evaluation\.zip: images_evaluation/Kannada/character07/0102_05\.png cannot be read"),
        ("zip", r"images_evaluation\.zip cannot be read \(.*\); delete the archive"),
    ],
)
def test_an_archive_that_is_not_whole_is_refused(small, how, message):
    spoil(small, how)
    with pytest.raises(ValueError, match=message):
        omniglot.read(small, "train")
    assert not list(small.glob("*.pt"))


def test_a_split_or_size_that_is_not_there(small):
    with pytest.raises(ValueError, match="no split 'trian'; there are: train, val, trainval, test, background, evaluation"):
        omniglot.read(small, "trian")
    with pytest.raises(ValueError, match="size 106 is not within"):
        omniglot.read(small, "train", size=106)


def test_the_published_counts(repmet_data):
    """Classes, characters and images of every split of the real set."""
    counts = {"train": (4112, 82_240), "val": (688, 13_760), "trainval": (4800, 96_000), "test": (1692, 33_840)}
    seen = {}
    for split, (classes, images) in counts.items():
        drawings = omniglot.read(repmet_data, split)
        assert (len(drawings.classes), len(drawings)) == (classes, images) and drawings.counts.unique().tolist() == [20]
        seen[split] = {name.rpartition("/")[0] for name in drawings.classes}
    assert [len(seen[split]) for split in ("train", "val", "test")] == [1028, 172, 423]
    assert seen["train"] | seen["val"] == seen["trainval"] and not seen["test"] & seen["trainval"]
    alphabets = {split: {name.partition("/")[0] for name in names} for split, names in seen.items()}
    assert [len(alphabets[split]) for split in ("train", "val", "trainval", "test")] == [33, 5, 38, 13]
    assert alphabets["test"] & alphabets["train"] == {"Gurmukhi"}
    background, evaluation = (omniglot.read(repmet_data, part) for part in ("background", "evaluation"))
    assert (len(background.classes), len(evaluation.classes)) == (964, 659)
    assert set(background.classes) | set(evaluation.classes) == seen["trainval"] | seen["test"]
    lake = omniglot.read(repmet_data, "lake_train")
    assert (len(lake.classes), len(lake)) == (3168, 63_360)
    assert {name.rpartition("/")[0] for name in lake.classes} == set(background.classes) - seen["val"]


def test_real_drawings_are_where_their_names_say(repmet_data):
    """Some members of the real archives, decoded here, against the tensors."""
    archive = next(p for p in repmet_data.rglob("*images_evaluation.zip"))
    evaluation = omniglot.read(repmet_data, "evaluation")
    with zipfile.ZipFile(archive) as pack:
        names = [name for name in pack.namelist() if name.endswith(".png")]
        for name in random.Random(1).sample(names, 40):
            _, alphabet, character, file = name.split("/")
            place = evaluation.classes.index(f"{alphabet}/{character}") * 20 + int(file[-6:-4]) - 1
            image = Image.open(io.BytesIO(pack.read(name))).convert("L").resize((28, 28), Image.Resampling.BILINEAR)
            assert np.array_equal(evaluation.images[place, 0].numpy(), np.array(image))
