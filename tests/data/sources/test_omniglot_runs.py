"""Lake's one-shot runs: read as published, or generated to the same form."""

import io
import zipfile
from functools import cache

import pytest
import torch
from PIL import Image

from repmet.data.readers.labelled_images import LabelledImages
from repmet.data.sources import omniglot
from repmet.data.sources.omniglot_runs import PLACES, one_shot_runs

ALPHABETS = {f"Alphabet{a:02d}": 19 + a for a in range(14)}  # the first has too few characters for a run


@pytest.fixture
def evaluation(monkeypatch):
    names = [f"{alphabet}/character{i:02d}" for alphabet, number in ALPHABETS.items() for i in range(1, number + 1)]
    labels = torch.arange(len(names)).repeat_interleave(20)
    images = LabelledImages(labels, tuple(names), torch.zeros(len(labels), 1, 2, 2, dtype=torch.uint8))
    monkeypatch.setattr(omniglot, "read", lambda root, split, size: images)
    return images


def test_generated_runs_stay_within_an_alphabet_and_two_drawers(evaluation, tmp_path):
    runs = one_shot_runs(tmp_path, seed=3)
    assert runs.generated and runs.support.shape == runs.query.shape == runs.answers.shape == (20, 20)
    labels, drawers = evaluation.labels, torch.arange(len(evaluation)) % 20
    assert torch.equal(labels[runs.support.gather(1, runs.answers)], labels[runs.query])
    alphabets = []
    for support, query in zip(runs.support, runs.query, strict=True):
        assert len(labels[support].unique()) == 20
        assert len(drawers[support].unique()) == len(drawers[query].unique()) == 1
        assert drawers[support[0]] != drawers[query[0]]
        (alphabet,) = {evaluation.classes[label].partition("/")[0] for label in labels[support].tolist()}
        alphabets.append(alphabet)
    assert len(set(alphabets)) == 10 and alphabets[::2] == alphabets[1::2] and "Alphabet00" not in alphabets
    assert any(
        not torch.equal(a.sort().values, b.sort().values) for a, b in zip(runs.support[::2], runs.support[1::2], strict=True)
    )
    again, other = one_shot_runs(tmp_path, seed=3), one_shot_runs(tmp_path, seed=4)
    assert torch.equal(again.support, runs.support) and torch.equal(again.query, runs.query)
    assert not torch.equal(other.support, runs.support)


@cache
def png(grey: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (105, 105), grey).save(buffer, "PNG")
    return buffer.getvalue()


def published(path, prefix="", runs=20, spoil=None):
    """An archive in the published form; the training image c of run r is grey 10 * (r % 2) + c, so are its test images."""
    files = {}
    for r in range(1, runs + 1):
        folder = f"all_runs/run{r:02d}"
        lines = []
        for item in range(20):
            character = (7 * item + r) % 20
            files[f"{folder}/training/class{character + 1:02d}.png"] = png(10 * (r % 2) + character)
            files[f"{folder}/test/item{item + 1:02d}.png"] = png(10 * (r % 2) + character)
            lines.append(
                f"{prefix}run{r:02d}/test/item{item + 1:02d}.png {prefix}run{r:02d}/training/class{character + 1:02d}.png"
            )
        files[f"{folder}/class_labels.txt"] = "\n".join(lines).encode()
    if spoil:
        spoil(files)
    with zipfile.ZipFile(path, "w") as pack:
        for name, content in files.items():
            pack.writestr(name, content)


@pytest.mark.parametrize(("name", "prefix"), [*((place, "") for place in PLACES[:3]), ("all_runs.zip", "all_runs/")])
def test_published_runs_are_read(tmp_path, name, prefix):
    published(tmp_path / name, prefix)
    runs = one_shot_runs(tmp_path, size=14)
    assert not runs.generated and runs.images.shape == (800, 1, 14, 14) and runs.support.shape == (20, 20)
    grey = runs.images[:, 0, 0, 0]
    assert torch.equal(grey[runs.query], grey[runs.support.gather(1, runs.answers)])
    assert grey[runs.support[0]].tolist() == list(range(10, 30))  # class01 .. class20 of the first run
    assert grey[runs.query[0]].tolist() == [10 + (7 * item + 1) % 20 for item in range(20)]
    assert grey[runs.query[19]].tolist() == [(7 * item + 20) % 20 for item in range(20)]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda files: files.pop("all_runs/run03/test/item05.png"), r"run03/test/item05\.png cannot be read"),
        (lambda files: files.update({"all_runs/run03/test/item05.png": b"no"}), r"run03/test/item05\.png cannot be read"),
        (
            lambda files: files.update({"all_runs/run03/class_labels.txt": b"a/b.png c/d.png"}),
            "run03/class_labels.txt has not 20",
        ),
        (lambda files: files.pop("all_runs/run20/class_labels.txt"), "holds 19 runs, not 20"),
    ],
)
def test_an_archive_that_is_not_whole_is_refused(tmp_path, spoil, message):
    published(tmp_path / "all_runs.zip", spoil=spoil)
    with pytest.raises(ValueError, match=message):
        one_shot_runs(tmp_path)


def test_generated_runs_on_the_real_set(repmet_data):
    runs = one_shot_runs(repmet_data)
    images = runs.images[runs.support].float()
    assert images.shape == (20, 20, 1, 28, 28) and images.mean() > 200
