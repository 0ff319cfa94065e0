"""The alternating timer finds a known ratio, and the JSON keeps its shape."""

import json
import time

import pytest
import torch

from repmet.benchmarks import measure, ops
from repmet.model_definitions import roi_layers


def test_a_known_ratio_is_found() -> None:
    result = measure.compare("sleep", lambda: time.sleep(0.003), "longer", lambda: time.sleep(0.009), seconds=0.1)
    assert 1.5 < result.ratio < 4.5
    assert result.ratio == pytest.approx(result.peer_ms / result.ours_ms)
    assert 2.9 < result.ours_ms < 9
    assert result.iqr >= 0


def test_short_functions_are_measured_in_bulk() -> None:
    calls = []
    result = measure.compare("append", lambda: calls.append(1), "same", lambda: calls.append(1), seconds=0.05)
    assert result.ours_ms < 0.01
    assert len(calls) > 10_000


def test_json_and_table(tmp_path) -> None:
    row = measure.Comparison("a case", 1.0, "peer", 12.5, 12.5, 0.25)
    path = tmp_path / "deep" / "ops.json"
    measure.write_json(path, measure.environment(), [row])
    content = json.loads(path.read_text())
    assert set(content["results"][0]) == {"case", "ours_ms", "peer", "peer_ms", "ratio", "iqr"}
    assert content["env"]["versions"]["torch"].startswith(torch.__version__.split("+")[0])
    assert [file.name for file in path.parent.iterdir()] == ["ops.json"]
    assert "| a case | 1 | peer | 12.5 | 12.50x | 0.25 |" in measure.format_table([row])


@pytest.mark.skipif(roi_layers.backend() != "csrc", reason="csrc is not compiled")
def test_the_operators_benchmark_checks_before_it_times(monkeypatch, tmp_path) -> None:
    out = tmp_path / "ops.json"
    results = ops.main(["--only", "100 boxes, random", "--seconds", "0.05", "--out", str(out)])
    assert len(results) == len(json.loads(out.read_text())["results"]) == 2
    monkeypatch.setattr(roi_layers, "nms", lambda boxes, *_: torch.arange(len(boxes)).flip(0))
    with pytest.raises(AssertionError, match="NMS, 100 boxes"):
        ops.main(["--only", "NMS, 100 boxes, random", "--seconds", "0.05"])
