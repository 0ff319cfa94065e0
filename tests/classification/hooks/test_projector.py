import pytest
import torch
from PIL import Image

from repmet.classification.hooks.projector import ProjectorHook
from tests.classification.conftest import CLOSED
from tests.classification.test_train import failure, train

HOOKS = """
custom_hooks:
  - {type: ValidationHook, monitor: simple_accuracy, unsupervised: false}
  - {type: ProjectorHook, images: 30, side: 8}
train_cfg: {max_epochs: 1}
"""


def test_representatives_lie_among_the_images(experiment, tmp_path):
    assert train(experiment(CLOSED, over=HOOKS), "--work-dir", tmp_path / "run") == 0
    (folder,) = (p.parent for p in (tmp_path / "run" / "tensorboard").rglob("embedding/metadata.tsv"))
    lines = [line.split("\t") for line in (folder / "metadata.tsv").read_text().strip().split("\n")]
    assert lines[0] == ["class", "kind"] and len(lines) == 1 + 30 + 20
    kinds = [kind for _, kind in lines[1:]]
    assert kinds == ["image"] * 30 + ["representative 0", "representative 1"] * 10
    assert [name for name, _ in lines[31:]] == [str(c) for c in range(10) for _ in range(2)]
    points = [list(map(float, line.split("\t"))) for line in (folder / "tensors.tsv").read_text().strip().split("\n")]
    assert len(points) == 50
    state = torch.load(tmp_path / "run" / "epoch_1.pth", weights_only=True)["state_dict"]
    learnt = state["representatives.weight"].flatten(0, 1)
    torch.testing.assert_close(torch.tensor(points[30:]), learnt, rtol=1e-4, atol=1e-5)
    assert Image.open(folder / "sprite.png").size == (64, 64)  # eight pictures of eight pixels a side


def test_what_is_refused(experiment, tmp_path, capsys):
    alone = "custom_hooks: [{type: ProjectorHook}]\n"
    said = failure(capsys, experiment(CLOSED, over=alone), "--work-dir", tmp_path / "run")
    assert "needs a ValidationHook beside it" in said
    for arguments in ({"images": 0}, {"images": 100_000}, {"side": 0}):
        with pytest.raises(ValueError, match="must be some, and fit"):
            ProjectorHook(**arguments)
