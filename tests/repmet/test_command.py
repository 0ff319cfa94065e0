"""The command `repmet`: what it offers, which module it runs, its exit codes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import repmet
from repmet import command, installation
from repmet.command import COMMANDS, main

ROOT = Path(__file__).parents[2]
DEMO = "experiments/detection/demo.yaml"
CLASSIFIER = "experiments/classification/image_folder.yaml"
OF_A_SUITE = "experiments/classification/prototypes.yaml:digits_free"


def test_the_version_takes_no_time_and_brings_nothing() -> None:
    program = """
import time; start = time.process_time()
import contextlib, io, json, sys
from repmet.command import main
with contextlib.redirect_stdout(io.StringIO()) as out:
    code = main(["--version"])
seconds = time.process_time() - start
print(json.dumps([code, out.getvalue(), seconds, sorted({"torch", "numpy", "mmengine"} & sys.modules.keys())]))
"""

    def once() -> list:
        result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
        return json.loads(result.stdout)

    code, printed, seconds, heavy = min((once() for _ in range(3)), key=lambda measured: measured[2])
    assert (code, printed, heavy) == (0, f"repmet {repmet.__version__}\n", [])
    assert seconds < 0.5


def test_help_names_every_command(capsys) -> None:
    assert main(["--help"]) == 0
    printed = capsys.readouterr()
    assert all(f"    {name} " in printed.out for name in COMMANDS) and not printed.err
    assert main([]) == 2
    printed = capsys.readouterr()
    assert "usage: repmet" in printed.err and not printed.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["detcet"], "repmet: no command 'detcet'; did you mean 'detect'?"),
        (["clasify", "--images", "x"], "did you mean 'classify'?"),
        (["xyz"], "there are: detect, "),
        (["train"], "usage: repmet train EXPERIMENT.yaml"),
        (["evaluate", "--seed", "3"], "name an experiment"),
        (["detect", "--images", ""], "repmet detect: an argument is empty"),
        (["embed", "--images", "photos", "--out", ""], "repmet embed: an argument is empty"),
    ],
)
def test_a_wrong_word_is_said_with_the_nearest(words, message, capsys) -> None:
    assert main(words) == 2
    printed = capsys.readouterr()
    assert message in printed.err and not printed.out


def test_each_command_runs_its_module_with_the_rest_of_the_line(monkeypatch) -> None:
    seen = []

    def main_of(module: str):
        return lambda words, prog: seen.append((module, list(words), prog)) or 1

    monkeypatch.setattr(command, "_main_of", main_of)
    assert main(["detect", "run", "--images", "a b.jpg"]) == 1
    main(["train", DEMO, "--seed", "3"])
    main(["evaluate", CLASSIFIER, "run"])
    main(["train", "--seed", "3", CLASSIFIER])
    main(["train", OF_A_SUITE])
    assert seen == [
        ("detect", ["run", "--images", "a b.jpg"], "repmet detect"),
        ("detection.train", [DEMO, "--seed", "3"], "repmet train"),
        ("classification.evaluate", [CLASSIFIER, "run"], "repmet evaluate"),
        ("classification.train", ["--seed", "3", CLASSIFIER], "repmet train"),
        ("classification.train", [OF_A_SUITE], "repmet train"),
    ]


@pytest.mark.parametrize("words", [["classify"], ["retrieve"], ["doctor"], ["train", CLASSIFIER], ["evaluate", CLASSIFIER]])
def test_help_of_a_command_is_by_its_name(words, capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*words, "--help"])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"usage: repmet {words[0]}")
    assert "python -m classification" not in printed.partition("Several processes")[0]


def test_help_without_an_experiment_says_where_the_options_are(capsys) -> None:
    assert main(["train", "--help"]) == 0
    assert "repmet train EXPERIMENT.yaml --help" in capsys.readouterr().out


def test_the_tree_is_found_through_what_an_experiment_inherits(tmp_path, monkeypatch, capsys) -> None:
    (tmp_path / "mine.yaml").write_text(f"_base_: {ROOT / CLASSIFIER}\n")
    assert command._tree("train", [str(tmp_path / "mine.yaml")]) == "classification"
    monkeypatch.chdir(tmp_path)  # experiments that ship are found from any folder
    assert command._tree("train", [DEMO]) == "detection"
    (tmp_path / "none.yaml").write_text("train_cfg: {max_epochs: 3}\n")
    for path, message in (("typo.yaml", "no such experiment file"), ("none.yaml", "must name the tree to run")):
        with pytest.raises(SystemExit) as ended:
            command._tree("train", [path])
        assert ended.value.code == 2
        assert message in capsys.readouterr().err


def test_an_interrupted_command(monkeypatch, capsys) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "_main_of", lambda module: interrupted)
    assert main(["doctor"]) == 130
    assert capsys.readouterr().err == "\ninterrupted\n"


def test_results_are_of_a_checkout(monkeypatch, capsys) -> None:
    monkeypatch.setattr(command, "checkout", lambda: None)
    assert main(["results"]) == 2
    assert "installed without one" in capsys.readouterr().err


def test_a_reader_that_goes_away_is_no_error() -> None:
    for words in ("--help", "train --help"):
        program = f"(sleep 0.2; exec {sys.executable} -c 'from repmet.command import run; run()' {words})"
        line = f"{program} | true; exit ${{PIPESTATUS[0]}}"
        result = subprocess.run(["bash", "-c", line], cwd=ROOT, capture_output=True, text=True)
        assert (result.returncode, result.stderr) == (1, "")


def test_where_files_land(monkeypatch, tmp_path) -> None:
    monkeypatch.delenv("REPMET_CACHE", raising=False)
    assert installation.cache_folder() == ROOT / "data" / "cache"
    assert installation.data_folder("data/VOCdevkit") == Path("data/VOCdevkit")
    monkeypatch.setattr(installation, "checkout", lambda: None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert installation.cache_folder() == tmp_path / "repmet"
    assert installation.data_folder("data/scenes") == tmp_path / "repmet" / "data" / "scenes"
    (tmp_path / "data" / "here").mkdir(parents=True)
    for folder in ("data/here", "my_photos", str(tmp_path / "data" / "x")):
        assert installation.data_folder(folder) == Path(folder)
    monkeypatch.setenv("REPMET_CACHE", "elsewhere")
    assert installation.cache_folder() == Path("elsewhere")
