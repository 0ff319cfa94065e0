"""Archives as they should be, damaged ones, and such that would write elsewhere."""

import errno
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from repmet.data.files.extraction import extract


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
    archive = tar_with(tmp_path / "x.tar", tarfile.TarInfo("big.bin"), bytes(1 << 20))
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
