"""Schedules when training is resumed: the configuration's parameters rule, the checkpoint gives the position alone."""

import copy
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from mmengine.optim import OptimWrapper, _ParamScheduler

# What a scheduler's state dict holds besides its parameters.
POSITION = {
    "last_step",
    "base_values",
    "_global_step",
    "_last_value",
    "best",
    "num_bad_epochs",
    "cooldown_counter",
}


def stretch(schedulers: Any, *, old: int, new: int, by_epoch: bool) -> Any:
    """Scheduler sections whose explicit `end` was the end of training, moved to the new end.

    A section without `end` ends with training anyway. `T_max` moves where it spans the same range; milestones stay.

    Args:
        schedulers: one section, a list, or a dict of them by optimizer.
        old, new: length of the earlier training and of this one, in epochs or iterations.
        by_epoch: which of the two.
    """
    schedulers = copy.deepcopy(schedulers)

    def visit(node: Any) -> None:
        if isinstance(node, list | tuple):
            for item in node:
                visit(item)
        elif isinstance(node, Mapping) and "type" not in node:
            for item in node.values():
                visit(item)
        elif isinstance(node, Mapping) and node.get("end") == old and node.get("by_epoch", True) is by_epoch:
            if node.get("T_max") == old - node.get("begin", 0):
                node["T_max"] = new - node.get("begin", 0)  # type: ignore[index]
            node["end"] = new  # type: ignore[index]

    visit(schedulers)
    return schedulers


def parameters(state: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a scheduler's state that its configuration decides."""
    return {k: v for k, v in state.items() if k not in POSITION and k not in ("optimizer", "verbose") and not callable(v)}


def same_parameters(scheduler: _ParamScheduler, saved: Mapping[str, Any]) -> bool:
    """Whether a scheduler was saved under the parameters that it has now."""
    return _as_lists(parameters(scheduler.state_dict())) == _as_lists(parameters(saved))


def _as_lists(value: Any) -> Any:
    if isinstance(value, Mapping):  # MultiStepLR keeps its milestones in a Counter
        return {k: _as_lists(v) for k, v in value.items()}
    return [_as_lists(v) for v in value] if isinstance(value, list | tuple) else value


def load_position(scheduler: _ParamScheduler, saved: Mapping[str, Any]) -> None:
    """Sets where a scheduler stands, and none of its parameters."""
    scheduler.load_state_dict({k: v for k, v in saved.items() if k in POSITION})


def replay(
    wrapper: OptimWrapper, build: Callable[[], list[_ParamScheduler]], *, iters: int, iters_per_epoch: int
) -> list[_ParamScheduler]:
    """Schedulers under changed parameters, stepped as an uninterrupted training would have stepped them.

    mmengine's schedulers compute each value from the last one, so a changed schedule cannot go on from an old value: a
    cosine that has come down to zero would stay there.

    Args:
        wrapper: the optimizer; its learning rates and the like are set to what the new schedule says.
        build: makes fresh schedulers on it.
        iters: iterations trained so far.
        iters_per_epoch: batches in an epoch; 0 where training goes by iterations.
    """
    for group in wrapper.param_groups:
        for name in [n for n in group if n.startswith("initial_")]:
            group[name.removeprefix("initial_")] = group[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about steps of a schedule before the optimizer's
        schedulers = build()
        steady = [s for s in schedulers if not getattr(s, "need_val_args", False)]  # those follow metrics, not time
        for i in range(1, iters + 1):
            for scheduler in steady:
                if not scheduler.by_epoch:
                    scheduler.step()
            if iters_per_epoch and i % iters_per_epoch == 0:
                for scheduler in steady:
                    if scheduler.by_epoch:
                        scheduler.step()
    return schedulers
