"""Downloads against a local server that breaks off, lies, or cannot resume."""

import errno
import hashlib
import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from repmet.data.files import download
from repmet.data.files.download import fetch

CONTENT = bytes(range(256)) * 4096  # 1 MiB, what the server has as file.bin
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def get(server, target: Path, **options) -> Path:
    return fetch(options.pop("urls", server.url()), target, **{"sha256": SHA256, "pause": 0.01, **options})


def test_a_file_comes_whole_and_is_not_fetched_twice(server, tmp_path, capsys):
    target = tmp_path / "new" / "file.bin"
    assert get(server, target).read_bytes() == CONTENT
    assert [p.name for p in target.parent.iterdir()] == ["file.bin"]
    assert "file.bin: 1.0 MB of 1.0 MB (100 %)" in capsys.readouterr().err
    get(server, target, md5=hashlib.md5(CONTENT).hexdigest(), size=len(CONTENT))
    assert len(server.asked) == 1


def test_a_broken_transfer_is_resumed(server, tmp_path):
    server.drop_after = [300_000, 200_000, 100_000, 1, 50_000]  # more breaks than attempts, but each brings something
    assert get(server, tmp_path / "file.bin").read_bytes() == CONTENT
    positions = [0, 300_000, 500_000, 600_000, 600_001, 650_001]
    assert server.asked == [None, *(f"bytes={position}-" for position in positions[1:])]


def test_a_later_call_goes_on_where_the_first_gave_up(server, tmp_path):
    target = tmp_path / "file.bin"
    server.drop_after = [400_000, 0, 0]
    with pytest.raises(ConnectionError, match=r"broke off after 0\.4 MB of 1\.0 MB \(3 attempts\)"):
        get(server, target, attempts=3)
    assert not target.exists() and (tmp_path / "file.bin.part").stat().st_size == 400_000
    assert get(server, target).read_bytes() == CONTENT
    assert server.asked[-1] == "bytes=400000-"


def test_a_server_without_range_begins_anew(server, tmp_path):
    server.ranges, server.drop_after = False, [400_000]
    assert get(server, tmp_path / "file.bin").read_bytes() == CONTENT
    assert server.asked == [None, "bytes=400000-"]


@pytest.mark.parametrize("kept", [CONTENT, b"x" * 1000, b"x" * len(CONTENT), b"x" * (len(CONTENT) + 5)])
def test_what_was_kept_is_finished_or_thrown_away(server, tmp_path, kept):
    (tmp_path / "file.bin.part").write_bytes(kept)
    assert get(server, tmp_path / "file.bin").read_bytes() == CONTENT
    assert not (tmp_path / "file.bin.part").exists()


def test_one_of_several_processes_fetches_and_all_have_the_file(server, tmp_path):
    """Without waiting the second would go on with the first one's unfinished file, and write into it when it is finished."""
    server.drop_after = [300_000, 200_000]
    with ThreadPoolExecutor(4) as pool:
        files = list(pool.map(lambda _: get(server, tmp_path / "file.bin", pause=0.2), range(4)))
    assert {path.read_bytes() for path in files} == {CONTENT}
    assert server.asked == [None, "bytes=300000-", "bytes=500000-"]
    assert [path.name for path in tmp_path.iterdir()] == ["file.bin"]


def test_a_wrong_checksum_leaves_nothing(server, tmp_path):
    with pytest.raises(ValueError, match=rf"could not fetch file\.bin:\n.*sha256 {SHA256} instead of 0{{64}}\n.*by hand"):
        get(server, tmp_path / "file.bin", sha256="0" * 64)
    with pytest.raises(ValueError, match="1048576 bytes instead of 7"):
        get(server, tmp_path / "file.bin", size=7)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_and_differs_is_not_touched(server, tmp_path):
    (tmp_path / "file.bin").write_bytes(b"mine")
    with pytest.raises(ValueError, match="delete it to fetch it again"):
        get(server, tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == b"mine" and server.asked == []


def test_mirrors_are_tried_in_order(server, tmp_path):
    server.files["/other.bin"] = b"something else"
    urls = [server.url("gone.bin"), server.url("other.bin"), server.url()]
    assert get(server, tmp_path / "file.bin", urls=urls).read_bytes() == CONTENT
    assert len(server.asked) == 3  # 404 is not asked again
    with pytest.raises(ConnectionError, match=r"gone\.bin: the server answers 404 .*\n.*other\.bin: sha256"):
        get(server, tmp_path / "two.bin", urls=urls[:2])


def test_a_busy_server_is_asked_again(server, tmp_path):
    server.statuses = [503, 429, 200]
    assert get(server, tmp_path / "file.bin").read_bytes() == CONTENT
    server.statuses = [503] * 4
    with pytest.raises(ConnectionError, match=r"answers 503 Service Unavailable \(4 attempts\)"):
        get(server, tmp_path / "two.bin")


def test_no_server_at_all(server, tmp_path):
    url = server.url()
    server.shutdown()
    server.server_close()
    with pytest.raises(ConnectionError, match=r"refused.*\(2 attempts\)"):
        fetch(url, tmp_path / "file.bin", sha256=SHA256, attempts=2, pause=0.01)


def test_a_full_disk_while_writing(server, tmp_path, monkeypatch):
    real_open = open

    class Full(io.FileIO):
        def write(self, block):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(
        download, "open", lambda p, mode: Full(p, mode) if mode in ("ab", "wb") else real_open(p, mode), raising=False
    )
    with pytest.raises(OSError, match=r"the disk is full: while fetching file\.bin\.part.*make room") as caught:
        get(server, tmp_path / "file.bin")
    assert caught.value.errno == errno.ENOSPC and len(server.asked) == 1  # asking again would not help
    assert not (tmp_path / "file.bin").exists()


def test_a_disk_without_room_is_found_before_the_transfer(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    with pytest.raises(OSError, match=r"the disk is full: file\.bin\.part needs 1\.0 MB more") as caught:
        get(server, tmp_path / "file.bin")
    assert caught.value.errno == errno.ENOSPC


def test_a_checksum_is_demanded(tmp_path):
    with pytest.raises(ValueError, match="needs a checksum"):
        fetch("http://127.0.0.1/x", tmp_path / "x")
    with pytest.raises(ValueError, match="no address"):
        fetch([], tmp_path / "x", md5="0")
