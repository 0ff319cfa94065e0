"""Sources by name, and those that need no download: digits and generated characters."""

import importlib
from pathlib import Path

import pytest

from repmet.data.sources import registry
from repmet.data.sources.registry import SOURCES, read


def test_only_the_source_that_is_asked_for_is_imported(monkeypatch):
    imported = []
    real = importlib.import_module
    monkeypatch.setattr(registry.importlib, "import_module", lambda name, *of: imported.append(name) or real(name, *of))
    assert len(read("digits", None, "val")) == 200
    assert [name for name in imported if name.startswith("repmet.")] == ["repmet.data.sources.digits"]
    lines = Path(registry.__file__).read_text().splitlines()
    ours = [line for line in lines if line.startswith(("from repmet", "import repmet"))]
    assert ours == [
        "from repmet.data.readers.labelled_images import LabelledImages",
        "from repmet.errors import UserError, did_you_mean",
    ]


def test_every_source_can_be_read():
    for source in SOURCES:
        with pytest.raises((ValueError, FileNotFoundError), match=r"no split|no such folder"):
            read(source, "nowhere", "nosplit")


@pytest.mark.parametrize(
    ("source", "arguments", "message"),
    [
        ("omnigolt", {}, "no source of images 'omnigolt'; did you mean 'omniglot'"),
        ("zzz", {}, "no source of images 'zzz'; there are: .*digits, dogs"),
        ("digits", {"sead": 3}, "source digits takes no argument 'sead'; did you mean 'seed'"),
        ("digits", {"only": ["3", "10"]}, "no class '10'"),
        ("omniglot", {}, "source omniglot needs `root`, the folder where its data lie"),
    ],
)
def test_a_name_that_is_not_known(source, arguments, message):
    with pytest.raises(ValueError, match=message):
        read(source, None, "train", **arguments)


def test_some_classes_alone():
    three = read("digits", None, "train", only=["7", "0", "3"])
    assert three.classes == ("0", "3", "7") and three.counts.tolist() == [100, 100, 100]
