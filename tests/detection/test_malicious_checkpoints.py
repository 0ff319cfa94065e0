"""Checkpoints made by an attacker: their experiments are refused before anything that they name is called.

mmengine imports and calls what a dotted `type` names; mmcv evaluates the `type` of a non-maximum suppression as Python, and
mmdet the `warp_mode` of a tracker's motion.
"""

import copy
from pathlib import Path

import pytest
from mmengine.config import Config

from repmet.detection.checkpoint import load_detector, open_detector
from repmet.errors import UserError
from repmet.experiments.config.loading import experiment_text, load_experiment, parse_experiment
from repmet.experiments.running.checkpoints import load_checkpoint, save_checkpoint

COMMAND = {"type": "os.system", "command": "touch {executed}"}
OUTPUT = {"type": "subprocess.getoutput", "cmd": "touch {executed}"}
PLACES = {
    "model": COMMAND,
    "model.backbone": COMMAND,
    "model.neck": OUTPUT,
    "model.data_preprocessor": COMMAND,
    "model.roi_head.bbox_head.bbox_coder": OUTPUT,
    "model.train_cfg.rpn.assigner": {"type": "CameraMotionCompensation", "warp_mode": "open('{executed}', 'w')"},
    "model.train_cfg.rpn.sampler": {"type": "mmengine.subprocess.getoutput", "cmd": "touch {executed}"},
    "model.test_cfg.rpn.nms": {"type": "open('{executed}', 'w') and nms", "iou_threshold": 0.5},
    "test_pipeline.0": COMMAND,
}


@pytest.fixture
def evil(glyph_run: Path, tmp_path: Path):
    """Writes the checkpoint with another value at a place of its experiment; `executed` is what would come of it."""

    def written(place: str) -> Path:
        checkpoint = copy.deepcopy(load_checkpoint(glyph_run / "epoch_1.pth"))
        facts = checkpoint["meta"]["experiment"]
        values = parse_experiment(facts["yaml"], "the test").to_dict()
        *above, last = place.split(".")
        node = values
        for key in above:
            node = node[key]
        node[int(last) if last.isdigit() else last] = {
            key: value.replace("{executed}", str(tmp_path / "executed")) if isinstance(value, str) else value
            for key, value in PLACES[place].items()
        }
        facts["yaml"] = experiment_text(Config(values))
        save_checkpoint(checkpoint, tmp_path / "evil.pth")
        return tmp_path / "evil.pth"

    return written


@pytest.mark.parametrize("place", PLACES)
def test_nothing_that_an_experiment_names_is_called(evil, place, glyph_run, tmp_path) -> None:
    path = evil(place)
    with pytest.raises(UserError, match=rf"evil\.pth: unknown {place}"):
        open_detector(path)
    if place.startswith("model.test_cfg"):  # an evaluation goes by its experiment's
        load_detector(load_experiment(glyph_run / "tiny.yaml"), path)
    else:
        with pytest.raises(UserError, match=rf"evil\.pth: unknown {place}"):
            load_detector(load_experiment(glyph_run / "tiny.yaml"), path)
    assert not (tmp_path / "executed").exists()
