"""What a command says of a user's error, and the name that was meant."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from repmet.errors import UserError, did_you_mean, exit_code, nearest, one_line


def test_a_users_error_is_one_line_and_exit_code_2(capsys: pytest.CaptureFixture, monkeypatch) -> None:
    def refuses() -> None:
        raise UserError("a.yaml: no such key\n  ways")

    assert exit_code(refuses) == 2
    said = capsys.readouterr()
    assert said.err == "error: a.yaml: no such key ways\n" and not said.out
    monkeypatch.setenv("REPMET_TRACEBACK", "1")
    assert exit_code(refuses) == 2
    assert "in refuses" in capsys.readouterr().err


@pytest.mark.parametrize("shown", [False, True])
def test_a_warning_to_users_is_one_line(shown: bool) -> None:
    """Such as that a damaged cache is made anew; the source is for who asks for it."""
    program = (
        "import warnings; from repmet.errors import exit_code; exit_code(lambda: warnings.warn('a.pt: damaged\\n  anew'))"
    )
    environment = os.environ | ({"REPMET_TRACEBACK": "1"} if shown else {})
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True
    ).stderr
    assert ("UserWarning: a.pt" in said) if shown else said == "warning: a.pt: damaged anew\n"


def test_what_a_command_returns_is_its_exit_code() -> None:
    assert exit_code(lambda: None) == 0
    assert exit_code(lambda: 1) == 1


def test_the_system_names_the_file(capsys: pytest.CaptureFixture) -> None:
    def full() -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/a/file")

    assert exit_code(full) == 2
    assert capsys.readouterr().err == "error: /a/file: No space left on device\n"
    assert one_line(FileNotFoundError("x.pth: no such checkpoint")) == "x.pth: no such checkpoint"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("lines", [1, 100_000])  # what fits into the buffer fails at the end
def test_a_full_disk_below_the_output_is_named(lines, unbuffered) -> None:
    program = (
        "import sys; from repmet import command; from repmet.errors import exit_code\n"
        f"command.main = lambda: exit_code(lambda: print('a line\\n' * {lines}))\ncommand.run()"
    )
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [sys.executable, "-c", program], stdout=full, stderr=subprocess.PIPE, text=True, env=environment
        )
    assert (ended.returncode, ended.stderr) == (2, "error: standard output: No space left on device\n")


def test_of_a_data_worker_only_what_went_wrong_there_is_said() -> None:
    wrapped = "Caught UserError in DataLoader worker process 1.\nTraceback:\n  File x\nUserError: a.jpg: no"
    assert one_line(UserError(wrapped)) == "a.jpg: no"


def test_the_nearest_name() -> None:
    known = ["score_thr", "NMS", "max_per_img"]
    assert nearest("score_th", known) == "score_thr"
    assert nearest("nms", known) == "NMS"
    assert nearest("zzz", known) is None
    assert nearest("score", known, cutoff=0.95) is None
    assert did_you_mean("score_th", known) == "did you mean 'score_thr'?"
    assert did_you_mean("zzz", known) == "there are: score_thr, NMS, max_per_img"
    assert did_you_mean("zzz", known, shown=2) == "there are: score_thr, NMS, ..."
