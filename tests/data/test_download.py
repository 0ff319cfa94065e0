"""Downloads against a local server that breaks off, lies, or cannot resume; archives that would write elsewhere."""

import errno
import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from data import download
from data.download import extract, fetch

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


def tar_with(path: Path, member: tarfile.TarInfo, content: bytes = b"") -> Path:
    with tarfile.open(path, "w") as tar:
        good = tarfile.TarInfo("good.txt")
        good.size = 2
        tar.addfile(good, io.BytesIO(b"ok"))
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    return path


def zip_with(path: Path, name: str, content: str = "", attributes: int = 0) -> Path:
    with zipfile.ZipFile(path, "w") as pack:
        pack.writestr("good.txt", "ok")
        info = zipfile.ZipInfo(name)
        info.external_attr = attributes
        pack.writestr(info, content)
    return path


@pytest.mark.parametrize("name", ["sub/folder/a.txt", "./b.txt"])
def test_archives_are_unpacked(tmp_path, name):
    for archive in (tar_with(tmp_path / "x.tar", tarfile.TarInfo(name), b"hi"), zip_with(tmp_path / "x.zip", name, "hi")):
        folder = extract(archive, tmp_path / archive.suffix[1:])
        assert (folder / name).read_text() == "hi" and (folder / "good.txt").read_text() == "ok"


@pytest.mark.parametrize("name", ["../evil.txt", "/evil.txt", "a/../../evil.txt", "C:\\evil.txt", "..\\evil.txt"])
def test_members_outside_the_folder_are_refused_before_anything_is_written(tmp_path, name):
    folder = tmp_path / "in" / "here"
    for archive in (tar_with(tmp_path / "x.tar", tarfile.TarInfo(name), b"!"), zip_with(tmp_path / "x.zip", name, "!")):
        with pytest.raises(ValueError, match="would land outside the folder"):
            extract(archive, folder)
    assert not list(tmp_path.rglob("evil*")) and not folder.exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_refused(tmp_path, kind):
    member = tarfile.TarInfo("link")
    member.type, member.linkname = kind, "good.txt"
    with pytest.raises(ValueError, match="'link' is a link or a device"):
        extract(tar_with(tmp_path / "x.tar", member), tmp_path / "out")
    with pytest.raises(ValueError, match="'link' is a link or a device"):
        extract(zip_with(tmp_path / "x.zip", "link", "/etc/passwd", 0o120777 << 16), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_no_archive_and_damaged_archives(tmp_path):
    (tmp_path / "page.tar").write_text("<html>404</html>")
    with pytest.raises(ValueError, match="neither a tar nor a zip"):
        extract(tmp_path / "page.tar", tmp_path / "out")
    archive = tar_with(tmp_path / "x.tar", tarfile.TarInfo("big.bin"), CONTENT)
    archive.write_bytes(archive.read_bytes()[:500_000])
    with pytest.raises(ValueError, match="the archive is damaged"):
        extract(archive, tmp_path / "out")


def test_a_full_disk_while_unpacking(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    archive = tar_with(tmp_path / "x.tar", tarfile.TarInfo("a.txt"), b"hi")
    monkeypatch.setattr(tarfile.TarFile, "extractall", full)
    with pytest.raises(OSError, match=r"the disk is full: unpacking x\.tar.*make room"):
        extract(archive, tmp_path)
