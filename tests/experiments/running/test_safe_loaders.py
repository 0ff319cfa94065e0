"""Weights by address: kept apart, checked against their checksum, and no scheme that would unpickle."""

import hashlib
import http.server
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from mmengine.runner import CheckpointLoader

from repmet.data.files.digest import sha256_of
from repmet.experiments.running.checkpoints import load_checkpoint, save_checkpoint
from repmet.experiments.running.safe_loaders import download


def test_schemes_that_read_without_safety_are_refused():
    with pytest.raises(ValueError, match=r"s3://bucket/a\.pth: this scheme is not supported"):
        CheckpointLoader.load_checkpoint("s3://bucket/a.pth")


@pytest.fixture
def server(tmp_path, monkeypatch) -> Iterator[tuple[str, Path]]:
    """The address of a server, the folder that it serves; torch's cache is a new one."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "served"
    folder.mkdir()
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as http_server:
        threading.Thread(target=http_server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http_server.server_port}", folder
        http_server.shutdown()


def test_files_of_one_name_from_two_addresses_are_kept_apart(server):
    address, folder = server
    for n in (1, 2):
        (folder / f"run{n}").mkdir()
        save_checkpoint({"n": n}, folder / f"run{n}" / "best.pth")
    kept = {n: download(f"{address}/run{n}/best.pth") for n in (1, 2)}
    assert {n: load_checkpoint(path)["n"] for n, path in kept.items()} == {1: 1, 2: 2}
    (folder / "run1" / "best.pth").unlink()
    assert download(f"{address}/run1/best.pth") == kept[1]  # from the cache
    assert CheckpointLoader.load_checkpoint(f"{address}/run2/best.pth")["n"] == 2
    with pytest.raises(ConnectionError, match=r"run3/best\.pth cannot be downloaded \(HTTP Error 404"):
        download(f"{address}/run3/best.pth")


def test_a_checksum_behind_the_address(server):
    address, folder = server
    save_checkpoint({"n": 1}, folder / "a.pth")
    right, wrong = hashlib.sha256((folder / "a.pth").read_bytes()).hexdigest(), "0" * 64
    assert sha256_of(folder / "a.pth") == right
    with pytest.raises(ValueError, match=r"a\.pth: another file than was asked for \(invalid hash value"):
        download(f"{address}/a.pth#sha256={wrong}")
    path = download(f"{address}/a.pth#sha256={right.upper()}")
    assert load_checkpoint(path) == {"n": 1}
    path.write_bytes(b"damaged in the cache")
    assert download(f"{address}/a.pth#sha256={right}") == path and load_checkpoint(path) == {"n": 1}
    for no_checksum in ("sha256=12", "md5=" + "0" * 32, "top"):
        with pytest.raises(ValueError, match=r"what follows `#` is the file's checksum"):
            download(f"{address}/a.pth#{no_checksum}")


def test_without_https_a_checksum_is_needed():
    with pytest.raises(ValueError, match=r"without https anybody on the way may change it; put its checksum behind"):
        download("http://example.invalid/a.pth")


def test_names_with_a_checksum_are_torchs_own_in_the_cache(server, tmp_path):
    address, folder = server
    save_checkpoint({"n": 1}, folder / "resnet18-f37072fd.pth")
    assert download(f"{address}/resnet18-f37072fd.pth") == tmp_path / "cache/hub/checkpoints/resnet18-f37072fd.pth"
