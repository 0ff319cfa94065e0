"""Checkpoints hold tensors and Python's own types: what is taken apart comes back, what cannot be held is named."""

from collections import OrderedDict

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer, MessageHub

from repmet.experiments.running.plain_values import history, plain, plain_hub, to_cpu


def test_history_buffer_round_trip():
    buffer = HistoryBuffer([0.1, 0.2, 0.7], [1, 2, 1])
    again = history(plain({"b": buffer})["b"])
    assert again.mean() == buffer.mean()
    assert again.data[0].tolist() == [0.1, 0.2, 0.7]


def test_plain_names_what_it_cannot_hold():
    with pytest.raises(TypeError, match=r"checkpoint\.meta\.f is a function"):
        plain({"meta": {"f": lambda: 0}})


def test_plain_keeps_kinds():
    value = plain({"a": True, "b": np.bool_(False), "c": 1, "d": OrderedDict(x=1), "e": (1, [2])})
    assert value["a"] is True and value["b"] is False and type(value["c"]) is int
    assert type(value["d"]) is OrderedDict and type(value) is dict and value["e"] == (1, [2])


def test_tensors_sizes_and_types_are_kept_as_they_are():
    values = {"none": None, "tensor": torch.arange(3), "size": torch.Size([2, 3]), "dtype": torch.float16}
    kept = plain(values)
    assert all(kept[name] is value for name, value in values.items())


def test_the_hub_without_what_only_this_process_can_use():
    hub = MessageHub.get_instance("hub of this test")
    hub.update_scalar("loss", 0.25)
    hub.update_info("epoch", np.int64(3))
    hub.update_info("best", OrderedDict(figure=0.5))
    hub.update_info("cfg", "a: 1")
    hub.update_info("call", lambda: 0)
    state = plain_hub(hub.state_dict())
    assert state["runtime_info"] == {"epoch": 3, "best": {"figure": 0.5}} and type(state["runtime_info"]["epoch"]) is int
    assert state["resumed_keys"] == {"loss": True, "epoch": True, "best": True}
    assert state["log_scalars"]["loss"].current() == 0.25


def test_nested_tensors_come_to_the_cpu_without_gradients():
    weight = torch.ones(2, requires_grad=True)
    value = to_cpu({"state": {0: [weight, (weight * 2, "text")]}, "lr": 0.1, "none": None})
    (first, (second, text)) = value["state"][0]
    assert first.tolist() == [1, 1] and second.tolist() == [2, 2]
    assert (text, value["lr"], value["none"]) == ("text", 0.1, None)
    assert not first.requires_grad and not second.requires_grad and weight.requires_grad
    assert type(value["state"][0]) is list and type(value["state"][0][1]) is tuple
