"""The two commands as a user types them, on a tiny set of scenes: what they write, and how they refuse."""

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from repmet.data.generated.glyph_scenes import lay_out
from repmet.detection import evaluate, train

REPOSITORY = Path(__file__).parents[2]
COUNTS = {"train": 16, "val": 6, "novel_support": 30, "novel_query": 30}


def run(*arguments: str | Path) -> subprocess.CompletedProcess:
    """A command in a process of its own, from the checkout."""
    command = [sys.executable, "-W", "ignore", "-m", *map(str, arguments)]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=600)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lay_out(tmp_path_factory.mktemp("scenes") / "glyphs", base_classes=6, novel_classes=6, counts=COUNTS)


@pytest.fixture(scope="module")
def experiment(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo, made small: the same model and sections, few images, one epoch."""
    path = tmp_path_factory.mktemp("experiment") / "tiny.yaml"
    tiny = {
        "_base_": str(REPOSITORY / "experiments/detection/demo.yaml"),
        "data": {"root": str(scenes), "glyph_scenes": None},
        "train_cfg": {"max_epochs": 1},
        "train_dataloader": {"batch_size": 4},
        "param_scheduler": [{"type": "MultiStepLR", "milestones": [1]}],
        "episodes": {"way": 3, "shot": [1, 2], "query": 3, "episodes": 4},
    }
    path.write_text(yaml.safe_dump(tiny))
    return path


@pytest.fixture(scope="module")
def trained(experiment: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of one training."""
    folder = tmp_path_factory.mktemp("run")
    done = run("detection.train", experiment, "--work-dir", folder)
    assert done.returncode == 0, done.stderr
    assert f"checkpoint: {folder / 'epoch_1.pth'}" in done.stdout
    return folder


@pytest.fixture(scope="module")
def evaluated(experiment: Path, trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("evaluation")
    done = run("detection.evaluate", experiment, trained, "--out", out)
    assert done.returncode == 0, done.stderr
    assert "repmet" in done.stdout and "baseline_roi" in done.stdout
    return out


def test_training_leaves_a_checkpoint_that_embeds_its_experiment_and_loads_safely(trained: Path, scenes: Path) -> None:
    meta = torch.load(trained / "epoch_1.pth", weights_only=True)["meta"]
    assert yaml.safe_load(meta["experiment"]["yaml"].replace("!tuple", ""))["data"]["root"] == str(scenes)
    assert meta["experiment"]["base_classes"] == (scenes / "classes_base.txt").read_text().split()
    assert meta["training"]["images"] == COUNTS["train"] and meta["training"]["seconds"] > 0
    assert list((trained / "tensorboard").rglob("events.out.tfevents.*"))


def test_a_killed_training_goes_on_to_the_same_weights(experiment: Path, tmp_path: Path) -> None:
    """A real SIGKILL after the first checkpoint; on the CPU the end is equal bit for bit."""
    options = ["--cfg-options", "train_cfg.max_epochs=2", "data.base_test=null"]
    arguments = ["detection.train", str(experiment), *options, "--work-dir"]
    assert run(*arguments, tmp_path / "whole").returncode == 0
    killed = tmp_path / "killed"
    command = [sys.executable, "-W", "ignore", "-m", *arguments, str(killed)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 300
        while not (killed / "last_checkpoint").is_file() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        process.kill()
    assert (killed / "epoch_1.pth").is_file() and not (killed / "epoch_2.pth").exists()
    assert run(*arguments, killed, "--resume", "auto").returncode == 0
    whole, resumed = (torch.load(d / "epoch_2.pth", weights_only=True)["state_dict"] for d in (tmp_path / "whole", killed))
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_metrics_json_keeps_its_contract(evaluated: Path) -> None:
    metrics = json.loads((evaluated / "metrics.json").read_text())
    assert {"experiment", "seed", "git", "versions", "seconds", "results", "base"} <= metrics.keys()
    assert [(r["method"], r["protocol"]["shot"]) for r in metrics["results"]] == [
        (method, shot) for method in ("repmet", "baseline_untrained", "baseline_roi") for shot in (1, 2)
    ]
    for row in metrics["results"]:
        assert row["protocol"].keys() == {"way", "shot", "query", "episodes", "episode_hash", "finetune"}
        assert row["protocol"]["way"] == 3 and row["protocol"]["episodes"] == 4
        low, high = row["episode_map_ci95"]
        assert 0 <= low <= row["episode_map"] <= high <= 1
        assert all(0 <= row[k] <= 1 for k in ("repmet_pooled", "pooled_ap", "class_map", "recall"))
        assert row["repmet_pooled"] >= row["pooled_ap"] - 1e-9  # duplicates are free in the published figure
        assert row["counts"]["n_ground_truth"] >= 4 * 3 * 3
    assert metrics["base"].keys() == {"voc07", "voc", "coco"}


def test_evaluation_draws_curves_and_sheets(evaluated: Path) -> None:
    assert (evaluated / "pr_1shot.png").stat().st_size > 5000
    curves = json.loads((evaluated / "pr_2shot.json").read_text())
    assert set(curves) == {"repmet", "baseline_untrained", "baseline_roi"}
    names = sorted(p.name for p in (evaluated / "pictures").iterdir())
    assert any("1shot_good" in n for n in names) and any("2shot_bad" in n for n in names)


def test_episodes_of_a_file_repeat_the_evaluation_exactly(
    experiment: Path, trained: Path, evaluated: Path, tmp_path
) -> None:
    done = run("detection.evaluate", experiment, trained, "--episodes", evaluated / "episodes.json", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    first, again = (json.loads((d / "metrics.json").read_text())["results"] for d in (evaluated, tmp_path))
    assert first == again


def test_shots_and_ways_of_the_command_line_count(refuse, experiment: Path, trained: Path, tmp_path: Path) -> None:
    options = ["--episodes", "2", "--way", "2", "--shot", "3", "--query", "2", "--seed", "5", "--out", tmp_path]
    done = run("detection.evaluate", experiment, trained, *options)
    assert done.returncode == 0, done.stderr
    protocol = json.loads((tmp_path / "metrics.json").read_text())["results"][0]["protocol"]
    assert (protocol["episodes"], protocol["way"], protocol["shot"], protocol["query"]) == (2, 2, 3, 2)


@pytest.fixture
def refuse(capsys: pytest.CaptureFixture) -> Callable[..., str]:
    """Runs a command's main in this process (the imports take seconds) and returns the one message that it refuses with."""

    def refused(command: str, *arguments: str | Path) -> str:
        main = {"detection.train": train.main, "detection.evaluate": evaluate.main}[command]
        assert main([str(a) for a in arguments]) == 2
        said = capsys.readouterr().err
        assert "Traceback" not in said and sum(line.startswith("error: ") for line in said.splitlines()) == 1, said
        return said

    return refused


def test_base_classes_compete_only_where_they_are_told_to(
    experiment: Path, trained: Path, evaluated: Path, tmp_path
) -> None:
    options = ["--episodes", evaluated / "episodes.json", "--cfg-options", "episodes.base_columns=true"]
    done = run("detection.evaluate", experiment, trained, *options, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    plain, competing = (json.loads((d / "metrics.json").read_text()) for d in (evaluated, tmp_path))
    assert competing["rule"] == plain["rule"] | {"base_columns": True}
    for before, after in zip(plain["results"], competing["results"], strict=True):
        same = before["episode_map"] == after["episode_map"] and before["pooled_ap"] == after["pooled_ap"]
        assert same == before["method"].startswith("baseline"), before["method"]


def test_a_typo_in_the_experiment_names_the_nearest_key(refuse, experiment: Path, tmp_path: Path) -> None:
    for wrong, near in (
        ("data.rooot=x", "root"),
        ("model.test_cfg.rcnn.score_th=0.1", "score_thr"),
        ("episodes.ways=3", "way"),
    ):
        message = refuse("detection.train", experiment, "--work-dir", tmp_path / "run", "--cfg-options", wrong)
        assert wrong.partition("=")[0] in message and near in message
    assert not (tmp_path / "run").exists()


def test_missing_data_are_named_with_the_remedy(refuse, experiment: Path, tmp_path: Path) -> None:
    message = refuse("detection.train", experiment, "--data", tmp_path / "nowhere", "--work-dir", tmp_path / "run")
    assert str(tmp_path / "nowhere") in message and "--data" in message


@pytest.mark.parametrize("damage", ["missing", "truncated", "no size", "outside", "no area"])
def test_a_broken_image_or_annotation_is_found_before_training(
    refuse, experiment: Path, scenes: Path, tmp_path: Path, damage
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(scenes, copy)
    image_id = (copy / "ImageSets/Main/train.txt").read_text().split()[3]
    picture, xml = copy / "JPEGImages" / f"{image_id}.jpg", copy / "Annotations" / f"{image_id}.xml"
    text = xml.read_text()
    box = text[text.index("<xmin>") : text.index("</bndbox>")]
    if damage == "missing":
        picture.unlink()
    elif damage == "truncated":
        picture.write_bytes(picture.read_bytes()[:-200])
    elif damage == "no size":
        xml.write_text(text[: text.index("<size>")] + text[text.index("</size>") + len("</size>") :])
    else:
        edges = (500, 500, 520, 520) if damage == "outside" else (50, 50, 50, 80)
        new = "".join(f"<{n}>{v}</{n}>" for n, v in zip(("xmin", "ymin", "xmax", "ymax"), edges, strict=True))
        xml.write_text(text.replace(box, new, 1))
    message = refuse("detection.train", experiment, "--data", copy, "--work-dir", tmp_path / "run")
    assert image_id in message


def test_a_class_without_annotations_is_found_before_training(
    refuse, experiment: Path, scenes: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(scenes, copy)
    names = (copy / "classes_base.txt").read_text().split()
    (copy / "classes_base.txt").write_text("\n".join([*names, "base_999"]))
    assert "base_999" in refuse("detection.train", experiment, "--data", copy, "--work-dir", tmp_path / "run")


def test_too_few_images_for_the_episodes_are_named_by_class(refuse, experiment: Path, trained: Path, tmp_path: Path) -> None:
    message = refuse("detection.evaluate", experiment, trained, "--query", "500", "--out", tmp_path / "out")
    assert "novel_000" in message and "500" in message
    message = refuse("detection.evaluate", experiment, trained, "--way", "7", "--out", tmp_path / "out")
    assert "7" in message and "classes" in message
    assert not (tmp_path / "out").exists()


def test_a_class_that_no_query_image_holds_is_named(
    refuse, experiment: Path, scenes: Path, trained: Path, tmp_path: Path
) -> None:
    """Supports of it are there. Also where the few boxes of it are difficult, and for lists of shots."""
    copy = tmp_path / "copy"
    shutil.copytree(scenes, copy)
    for image in (copy / "ImageSets/Main/novel_query.txt").read_text().split():
        xml = copy / "Annotations" / f"{image}.xml"
        xml.write_text(xml.read_text().replace("<name>novel_002</name>", "<name>novel_003</name>"))
    arguments = ("detection.evaluate", experiment, trained, "--data", copy, "--out", tmp_path / "out")
    for more in ((), ("--seeds", "2")):
        assert "class 'novel_002': no annotation has it" in refuse(*arguments, *more)
    hard = copy / "Annotations" / f"{image}.xml"
    text = hard.read_text().replace("<difficult>0</difficult>", "<difficult>1</difficult>")
    hard.write_text(re.sub(r"<name>\w+</name>", "<name>novel_002</name>", text))
    assert re.search(r"novel_002: \d+ support boxes in \d+ images, 0 query images", refuse(*arguments))
    assert not (tmp_path / "out").exists()


def test_an_image_listed_twice_is_named(refuse, experiment: Path, scenes: Path, trained: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(scenes, copy)
    for name in ("train", "novel_query"):
        file = copy / "ImageSets/Main" / f"{name}.txt"
        image = file.read_text().split()[2]
        file.write_text(f"{file.read_text().rstrip()}\n{image}\n")
        command = ("detection.train", experiment) if name == "train" else ("detection.evaluate", experiment, trained)
        where = ("--work-dir", tmp_path / "out") if name == "train" else ("--out", tmp_path / "out")
        said = refuse(*command, "--data", copy, *where)
        assert f"{name}.txt: lists 1 image more than once: {image}" in said


def test_a_checkpoint_of_other_classes_is_refused(
    refuse, experiment: Path, scenes: Path, trained: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(scenes, copy)
    (copy / "classes_base.txt").write_text("\n".join((copy / "classes_base.txt").read_text().split()[:5]))
    message = refuse("detection.evaluate", experiment, trained, "--data", copy, "--out", tmp_path / "out")
    assert "6 base classes" in message and "5" in message


def test_checkpoints_that_are_none_are_refused(refuse, experiment: Path, tmp_path: Path) -> None:
    assert "no such checkpoint" in refuse("detection.evaluate", experiment, tmp_path / "absent.pth")
    (tmp_path / "text.pth").write_text("no checkpoint")
    assert "text.pth" in refuse("detection.evaluate", experiment, tmp_path / "text.pth")


def test_an_episode_file_of_another_data_set_is_refused(
    refuse, experiment, trained: Path, evaluated: Path, tmp_path: Path
) -> None:
    other = lay_out(tmp_path / "other", base_classes=6, novel_classes=6, counts=COUNTS | {"novel_query": 40}, seed=3)
    episodes = json.loads((evaluated / "episodes.json").read_text())
    assert episodes["episodes"]
    message = refuse(
        "detection.evaluate",
        experiment,
        trained,
        "--data",
        other,
        "--episodes",
        evaluated / "episodes.json",
        "--out",
        tmp_path,
    )
    assert "another data set" in message
    message = refuse("detection.evaluate", experiment, trained, "--episodes", evaluated / "episodes.json", "--way", "2")
    assert "--way" in message
