"""What a measurement says about where it came from."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from repmet.experiments.running import provenance

ROOT = Path(provenance.__file__).parents[1]


def git(folder, *arguments):
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false"]
    return subprocess.run(
        ["git", "-C", str(folder), *identity, *arguments], capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout of its own, which the module takes for ours."""
    folder = tmp_path / "checkout"
    (folder / "experiments").mkdir(parents=True)
    file = folder / "experiments" / "provenance.py"
    file.write_text("one\n")
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "First")
    monkeypatch.setattr(provenance, "checkout", lambda: folder.resolve())
    return folder


def test_the_revision_is_twelve_digits(checkout):
    revision = provenance.git_revision()
    assert re.fullmatch(r"[0-9a-f]{12}", revision)
    assert git(checkout, "rev-parse", "HEAD").startswith(revision)


def test_a_changed_file_makes_it_dirty_and_an_unknown_one_does_not(checkout):
    clean = provenance.git_revision()
    (checkout / "notes.txt").write_text("not tracked\n")
    assert provenance.git_revision() == clean
    (checkout / "experiments" / "provenance.py").write_text("two\n")
    assert provenance.git_revision() == f"{clean}-dirty"


def test_a_tag_does_not_take_the_place_of_the_revision(checkout):
    git(checkout, "tag", "-a", "v1.0", "-m", "A release")
    assert re.fullmatch(r"[0-9a-f]{12}", provenance.git_revision())


def test_outside_a_checkout_there_is_none(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "checkout", lambda: None)  # installed
    assert provenance.git_revision() is None
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    monkeypatch.setattr(provenance, "checkout", lambda: tmp_path)  # unpacked from an archive
    assert provenance.git_revision() is None


def test_another_repository_above_is_not_ours(checkout, monkeypatch):
    (checkout / "vendored").mkdir()
    monkeypatch.setattr(provenance, "checkout", lambda: (checkout / "vendored").resolve())
    assert provenance.git_revision() is None


def test_without_git_there_is_none(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert provenance.git_revision() is None


def test_versions():
    versions = provenance.versions()
    assert torch.__version__.startswith(versions["torch"].partition("+")[0])
    assert re.fullmatch(r"3\.\d+\.\d+\S*", versions["python"])
    assert {"numpy", "torchvision", "onedl-mmengine"} <= versions.keys()
    assert all(isinstance(version, str) and version for version in versions.values())


def test_versions_leave_out_what_is_not_installed(monkeypatch):
    monkeypatch.setattr(provenance, "_PACKAGES", ("torch", "no-such-package-anywhere"))
    assert set(provenance.versions()) == {"python", "torch"}


def test_the_machine_is_named():
    if torch.cuda.is_available():
        assert provenance.machine() == torch.cuda.get_device_name()
    else:
        assert re.fullmatch(r".+, [1-9]\d* cores", provenance.machine())


@pytest.mark.parametrize(
    ("typed", "program", "said"),
    [
        (
            ["/usr/bin/python3", "-m", "detection.evaluate", "a b.yaml"],
            "evaluate.py",
            "python -m detection.evaluate 'a b.yaml'",
        ),
        (["python", "-X", "utf8", "-m", "repmet", "train", "a.yaml"], "__main__.py", "python -m repmet train a.yaml"),
        (["python", "/venv/bin/repmet", "train", "a.yaml"], "/venv/bin/repmet", "repmet train a.yaml"),
        (["python", "mine.py", "train"], "mine.py", None),
    ],
)
def test_the_command_is_told_as_it_is_typed_in_the_checkout(monkeypatch, typed, program, said):
    monkeypatch.setattr(sys, "orig_argv", typed)
    monkeypatch.setattr(sys, "argv", [program, *typed[2:]])
    assert provenance.invocation() == said


def test_every_file_of_figures_says_where_it_comes_from():
    told = provenance.origin()
    assert list(told) == ["git", "versions", "machine", "evaluated_by"]
    assert told["machine"].startswith(provenance.processor()) or torch.cuda.is_available()
