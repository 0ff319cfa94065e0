"""Checkpoints hold tensors and Python's own types: what is taken apart comes back, what cannot be held is named."""

from collections import OrderedDict

import numpy as np
import pytest
from mmengine.logging import HistoryBuffer

from repmet.experiments.running.plain_values import history, plain


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
