"""From an experiment and a checkpoint to the trained method: what is the checkpoint's, and what is the experiment's."""

import pytest
from mmengine.config import Config

from repmet.classification.checkpoint import load_trained
from repmet.classification.evaluate import main
from repmet.classification.few_shot_classifier import FewShotClassifier
from repmet.classification.methods import RepMet
from repmet.classification.retrieve import main as retrieve_main
from repmet.errors import UserError
from repmet.experiments.config.loading import experiment_text, load_experiment, parse_experiment
from repmet.experiments.running.checkpoints import save_checkpoint
from tests.classification.conftest import COLOUR_ENCODER, COLOUR_EXPERIMENT


def test_nothing_that_a_checkpoints_experiment_names_is_called(folders, tmp_path):
    """mmengine imports and calls what a dotted `type` names."""
    method = RepMet(COLOUR_ENCODER, {"type": "EmbeddingHead", "out_channels": 6}, num_classes=3)
    (tmp_path / "mine.yaml").write_text(COLOUR_EXPERIMENT)
    command = f"touch {tmp_path / 'executed'}"
    for key, section in (
        ("model.encoder", {"type": "os.system", "command": command}),
        ("test_pipeline.0", {"type": "subprocess.getoutput", "cmd": command}),
    ):
        values = parse_experiment(COLOUR_EXPERIMENT, "the test").to_dict()
        node = values["model"] if key == "model.encoder" else values["test_pipeline"]
        node["encoder" if key == "model.encoder" else 0] = section
        facts = {"tree": "classification", "name": "c", "yaml": experiment_text(Config(values)), "method": "RepMet"}
        save_checkpoint({"state_dict": method.state_dict(), "meta": {"experiment": facts}}, tmp_path / "best.pth")
        with pytest.raises(UserError, match=rf"best\.pth: unknown {key}\.type '(os|subprocess)"):
            load_trained(load_experiment(tmp_path / "mine.yaml", {"data.root": str(folders)}), tmp_path / "best.pth")
        with pytest.raises(UserError, match=rf"best\.pth: unknown {key}\.type '(os|subprocess)"):
            FewShotClassifier(str(tmp_path / "best.pth"))
    assert not (tmp_path / "executed").exists()


def test_a_checkpoint_is_measured_at_the_size_and_by_the_transforms_of_its_training(folders, tmp_path, capsys):
    """Whatever the experiment says; an option that asks for something else is refused by both commands."""
    method = RepMet(COLOUR_ENCODER, {"type": "EmbeddingHead", "out_channels": 6}, num_classes=3)
    meta = {"experiment": {"tree": "classification", "name": "c", "yaml": COLOUR_EXPERIMENT, "method": "RepMet"}}
    save_checkpoint({"state_dict": method.state_dict(), "meta": meta}, tmp_path / "best.pth")
    other = COLOUR_EXPERIMENT.replace("all, size: 16", "all, size: 40, test: all").replace(
        "{type: ToFloat}", "{type: ToFloat}, {type: Normalize, mean: [0.5, 0.5, 0.5], std: [1.0, 1.0, 1.0]}"
    )
    (tmp_path / "other.yaml").write_text(other)
    trained = load_trained(load_experiment(tmp_path / "other.yaml", {"data.root": str(folders)}), tmp_path / "best.pth")
    assert trained.cfg.data.size == 16 and [t.type for t in trained.cfg.test_pipeline] == ["ToFloat"]
    assert trained.cfg.data.root == str(folders) and trained.cfg.data.test == "all"
    assert "best.pth: measured as it was trained, with data.size 16 (here 40), test_pipeline " in capsys.readouterr().err
    words = [str(tmp_path / "other.yaml"), str(tmp_path / "best.pth"), "--data", str(folders), "--cfg-options"]
    for command_of_tree in (main, retrieve_main):
        assert command_of_tree([*words, "data.size=24", "--out", str(tmp_path / "out")]) == 2
        said = capsys.readouterr().err.strip().split("\n")[-1]
        assert said.startswith("error: --cfg-options data.size=24: ") and "best.pth was trained with 16" in said
