"""`--amp` on a CPU: the forward pass in bfloat16 where the processor has matrix units for it, and weights in float32."""

import pytest
import torch
from mmengine.optim import OptimWrapper

from repmet.experiments.config.loading import load_experiment
from repmet.experiments.running import launcher, mixed_precision
from repmet.experiments.running.checkpoints import load_checkpoint
from repmet.experiments.running.mixed_precision import Bfloat16OptimWrapper

no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="with a GPU, --amp is mmengine's")


def wrapped(monkeypatch, fast: bool) -> tuple[torch.nn.Linear, OptimWrapper]:
    monkeypatch.setattr(mixed_precision, "cpu_multiplies_bfloat16", lambda: fast)
    model = torch.nn.Linear(3, 2)
    return model, Bfloat16OptimWrapper(optimizer=torch.optim.SGD(model.parameters(), lr=0.1))


@pytest.mark.parametrize(("fast", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_the_forward_pass_and_it_alone(monkeypatch, fast, dtype):
    model, wrapper = wrapped(monkeypatch, fast)
    before = model.weight.detach().clone()
    with wrapper.optim_context(model):
        out = model(torch.ones(4, 3))
    assert out.dtype == dtype
    wrapper.update_params(out.float().sum())
    assert model.weight.dtype == torch.float32
    torch.testing.assert_close(model.weight, before - 0.4)  # the gradient of the sum is 4 everywhere
    assert model(torch.ones(4, 3)).dtype == torch.float32


@no_gpu
def test_amp_trains_and_the_checkpoint_says_so(toy_yaml, tmp_path, monkeypatch):
    monkeypatch.setattr(launcher, "cpu_multiplies_bfloat16", lambda: True)
    monkeypatch.setattr(mixed_precision, "cpu_multiplies_bfloat16", lambda: True)
    arguments = [str(toy_yaml), "--amp", "--work-dir", str(tmp_path), "--cfg-options", "train_cfg.max_epochs=1"]
    assert launcher.train_command("toy", "doc", argv=arguments) == 0
    assert load_experiment(tmp_path / "toy.yaml").optim_wrapper.type == "Bfloat16OptimWrapper"
    weights = load_checkpoint(tmp_path / "epoch_1.pth")["state_dict"]
    assert {w.dtype for w in weights.values() if w.is_floating_point()} == {torch.float32}


@no_gpu
def test_amp_where_it_is_not_quicker_is_an_error(toy_yaml, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(launcher, "cpu_multiplies_bfloat16", lambda: False)
    assert launcher.train_command("toy", "doc", argv=[str(toy_yaml), "--amp", "--work-dir", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("error: --amp needs a CUDA GPU or a CPU with bfloat16 matrix units")
