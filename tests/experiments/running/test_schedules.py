"""Changed schedules go on as if they had always been so."""

import warnings

import pytest
import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import PARAM_SCHEDULERS

from repmet.experiments.running.schedules import load_position, replay, same_parameters, stretch


def wrapper() -> OptimWrapper:
    return OptimWrapper(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1, momentum=0.9))


def run(optimizer: OptimWrapper, cfg: list[dict], epochs: int, iters_per_epoch: int, built=None) -> tuple[list[float], list]:
    """The oracle: an uninterrupted training's learning rates, stepping as the hook does."""
    built = built or [PARAM_SCHEDULERS.build({**c}, default_args={"optimizer": optimizer}) for c in cfg]
    rates = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(epochs):
            for _ in range(iters_per_epoch):
                rates.append(optimizer.param_groups[0]["lr"])
                for s in built:
                    if not s.by_epoch:
                        s.step()
            for s in built:
                if s.by_epoch:
                    s.step()
    return rates, built


WARMUP = {"type": "LinearLR", "start_factor": 0.1, "by_epoch": False, "begin": 0, "end": 7}


@pytest.mark.parametrize(
    "main",
    [
        {"type": "MultiStepLR", "milestones": [3, 8], "gamma": 0.3},
        {"type": "CosineAnnealingLR", "eta_min": 0.0},
        {"type": "PolyLR", "eta_min": 1e-4},
        {"type": "ExponentialLR", "gamma": 0.7},
    ],
)
def test_replay_equals_an_uninterrupted_run(main):
    optimizer = wrapper()
    run(optimizer, [WARMUP, {**main, "end": 5}], epochs=5, iters_per_epoch=4)
    longer = [WARMUP, {**main, "end": 12}]

    def build():
        return [PARAM_SCHEDULERS.build({**c}, default_args={"optimizer": optimizer}) for c in longer]

    built = replay(optimizer, build, iters=20, iters_per_epoch=4)
    rates, _ = run(optimizer, longer, epochs=7, iters_per_epoch=4, built=built)
    expected, _ = run(wrapper(), longer, epochs=12, iters_per_epoch=4)
    assert rates == expected[20:]


def test_same_parameters_and_position():
    optimizer = wrapper()
    cfg = [{"type": "MultiStepLR", "milestones": [1, 4], "gamma": 0.5, "end": 6}]
    _, (old,) = run(optimizer, cfg, epochs=3, iters_per_epoch=1)
    saved = old.state_dict()
    (new,) = run(wrapper(), cfg, epochs=0, iters_per_epoch=1)[1]
    (longer,) = run(wrapper(), [{**cfg[0], "end": 9}], epochs=0, iters_per_epoch=1)[1]
    assert same_parameters(new, saved)
    assert not same_parameters(longer, saved)
    load_position(longer, saved)
    assert longer.end == 9
    assert longer.last_step == old.last_step


def test_stretch_moves_the_end_and_keeps_milestones():
    cfg = [
        WARMUP,
        {"type": "MultiStepLR", "milestones": [8, 11], "end": 12},
        {"type": "CosineAnnealingLR", "T_max": 10, "begin": 2, "end": 12},
        {"type": "ExponentialLR", "gamma": 0.1, "end": 6},
    ]
    moved = stretch(cfg, old=12, new=24, by_epoch=True)
    assert moved[0] == WARMUP
    assert moved[1] == {"type": "MultiStepLR", "milestones": [8, 11], "end": 24}
    assert moved[2] == {"type": "CosineAnnealingLR", "T_max": 22, "begin": 2, "end": 24}
    assert moved[3]["end"] == 6
    assert cfg[1]["end"] == 12
    assert stretch({"g": cfg[1]}, old=12, new=24, by_epoch=True)["g"]["end"] == 24
    assert stretch(None, old=12, new=24, by_epoch=True) is None
