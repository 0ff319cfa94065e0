"""`export` on a disk without room, and in the place of an earlier export."""

import errno
import os

import pytest

from repmet import exporting
from repmet.data.files import atomic
from repmet.detection.export import write
from repmet.detection.exported.folder import read_facts
from repmet.experiments.running import onnx_graph

pytest.importorskip("onnx")


def error_of(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert exporting.main(words) == 2
    (said,) = capsys.readouterr().err.splitlines()
    return said


@pytest.fixture
def traced(monkeypatch, exported_photos):
    """Tracing takes seconds: the graph is that of an export that was made before."""
    graph = (exported_photos / "network.onnx").read_bytes()
    monkeypatch.setattr(
        write, "write_network", lambda network, path, facts: atomic.write_atomically(path, lambda f: f.write(graph))
    )
    return graph


def test_too_little_room_is_seen_before_the_work(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(write, "write_network", lambda *_: pytest.fail("worked in vain"))
    free = os.statvfs(tmp_path)
    full = type("Full", (), {"f_bavail": 1000, "f_frsize": free.f_frsize})
    monkeypatch.setattr(os, "statvfs", lambda folder: full)
    said = error_of(["--out", str(tmp_path / "mine")], capsys)
    assert said.startswith(f"error: {tmp_path}/mine: the disk is full: ") and not (tmp_path / "mine").exists()


@pytest.mark.parametrize("format", ["onnx", "openvino"])
def test_without_room_the_earlier_export_stays(format, tmp_path, capsys, room, traced) -> None:
    pytest.importorskip("openvino")
    words = ["--format", format, "--out", str(tmp_path / "mine")]
    with room(len(traced) // 2):
        first = error_of(words, capsys)  # the graph in the temporary folder
    assert first.startswith("error: ") and first.endswith(f"traced.onnx: {os.strerror(errno.EFBIG)}")
    assert not (tmp_path / "mine").exists()
    assert exporting.main(words) == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "mine").iterdir()}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(onnx_graph, "copy_file", lambda source, path: atomic.write_atomically(path, _full))
        patched.setattr(write, "write_facts", lambda facts, folder: atomic.write_atomically(folder / "detector.json", _full))
        said = error_of(words, capsys)
    name = "network.onnx" if format == "onnx" else "detector.json"
    assert said == f"error: {tmp_path}/mine/{name}: No space left on device"
    assert {path.name: path.read_bytes() for path in (tmp_path / "mine").iterdir()} == before
    read_facts(tmp_path / "mine")


@pytest.mark.parametrize("name", ["network.onnx", "detector.json"])
def test_nobody_elses_model_is_replaced(name, tmp_path, capsys, monkeypatch, traced) -> None:
    (tmp_path / name).write_text("mine")
    with monkeypatch.context() as context:
        context.setattr(write, "write_network", lambda *_: pytest.fail("worked in vain"))
        assert f"{tmp_path / name}: was not written by an earlier run" in error_of(["--out", str(tmp_path)], capsys)
    assert [path.name for path in tmp_path.iterdir()] == [name] and (tmp_path / name).read_text() == "mine"
    (tmp_path / name).unlink()
    assert [exporting.main(["--out", str(tmp_path)]) for _ in range(2)] == [0, 0]  # its own is


def _full(file) -> None:
    file.write(b"half")
    raise OSError(errno.ENOSPC, "No space left on device")


def test_openvino_says_which_file_it_could_not_write(tmp_path, exported_photos, room) -> None:
    """Its own error is that of a stream, and says nothing else."""
    pytest.importorskip("openvino")
    with pytest.raises(OSError, match="cannot be written: is the disk full") as raised, room(100_000):
        onnx_graph.write_graph(exported_photos / "network.onnx", tmp_path / "network.xml")
    assert raised.value.filename == str(tmp_path / "network.xml")
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 200_000
