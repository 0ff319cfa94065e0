"""Laying out the published archives: counted when full, refused when not, on a small stand-in of them."""

import functools
import hashlib
import http.server
import io
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import pytest
from PIL import Image

from repmet.data.sources import voc_archives
from repmet.data.sources.voc import read_image_set
from repmet.data.sources.voc_archives import ARCHIVES, COUNTS, Archive, check_counts, lay_out_voc

OBJECT = (
    "<object><name>cat</name><difficult>{difficult}</difficult>"
    "<bndbox><xmin>2</xmin><ymin>2</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object>"
)


def write_archive(path: Path, lists: dict[str, list[str]]) -> Archive:
    """A tar of VOCdevkit/VOC2007 with these lists; each image has one plain and one difficult cat."""
    picture = io.BytesIO()
    Image.new("RGB", (12, 10)).save(picture, "JPEG")
    xml = "<annotation><size><width>12</width><height>10</height></size>{}{}</annotation>"
    members = {f"ImageSets/Main/{name}.txt": "\n".join(ids).encode() for name, ids in lists.items()}
    for image_id in {i for ids in lists.values() for i in ids}:
        members[f"JPEGImages/{image_id}.jpg"] = picture.getvalue()
        content = xml.format(OBJECT.format(difficult=0), OBJECT.format(difficult=1))
        members[f"Annotations/{image_id}.xml"] = content.encode()
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(f"VOCdevkit/VOC2007/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return Archive(path.name, hashlib.md5(path.read_bytes()).hexdigest())


@pytest.fixture
def published(tmp_path, monkeypatch):
    """Two small archives on a local server, in the place of VOC 2007; yields the list of files that were asked for."""
    folder, asked = tmp_path / "server", []
    folder.mkdir()
    archives = (
        write_archive(folder / "trainval.tar", {"train": ["1", "2"], "val": ["3"], "trainval": ["1", "2", "3"]}),
        write_archive(folder / "test.tar", {"test": ["8", "9"]}),
    )

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_request(self, *args) -> None:
            asked.append(self.path)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    monkeypatch.setitem(voc_archives.ARCHIVES, "2007", archives)
    monkeypatch.setattr(voc_archives, "MIRRORS", (f"http://127.0.0.1:{server.server_port}/{{name}}",))
    counts = {"train": (2, 2), "val": (1, 1), "trainval": (3, 3), "test": (2, 2)}
    monkeypatch.setitem(voc_archives.COUNTS, "2007", counts)
    yield asked
    server.shutdown()
    server.server_close()
    thread.join()


def test_fetched_counted_and_not_fetched_again(published, tmp_path):
    devkit = lay_out_voc(tmp_path / "data", [2007])
    assert devkit == tmp_path / "data" / "VOCdevkit"
    assert len(read_image_set(devkit, "2007_trainval+2007_test")) == 5
    assert [p.name for p in (tmp_path / "data").iterdir()] == ["VOCdevkit"]  # the archives are gone
    lay_out_voc(tmp_path / "data", ["2007"])
    assert published == ["/trainval.tar", "/test.tar"]


def test_what_was_unpacked_in_part_is_completed(published, tmp_path):
    devkit = lay_out_voc(tmp_path / "data", ["2007"], keep_archives=True)
    (devkit / "VOC2007/JPEGImages/2.jpg").unlink()
    lay_out_voc(tmp_path / "data", ["2007"])
    assert (devkit / "VOC2007/JPEGImages/2.jpg").is_file()
    assert len(published) == 2  # from the archives that were kept


def test_wrong_counts_are_an_error(published, tmp_path, monkeypatch):
    counts = {**COUNTS["2007"], "val": (1, 7), "trainval": (3, 9)}
    monkeypatch.setitem(voc_archives.COUNTS, "2007", counts)
    with pytest.raises(ValueError, match=r"not the full VOC 2007: val: 1 images, 1 boxes instead of 1, 7; trainval"):
        lay_out_voc(tmp_path / "data", ["2007"])


def test_a_subset_is_never_written_over(published, tmp_path):
    lists = tmp_path / "data/VOCdevkit/VOC2007/ImageSets/Main"
    lists.mkdir(parents=True)
    (lists / "trainval.txt").write_text("1\n")
    with pytest.raises(ValueError, match=r"its list trainval has 1 images, the full VOC 2007 has 3; give another --root"):
        lay_out_voc(tmp_path / "data", ["2007"])
    assert published == [] and (lists / "trainval.txt").read_text() == "1\n"


def test_unknown_year(tmp_path):
    with pytest.raises(ValueError, match="VOC 2009: published in full with annotations are 2007, 2012"):
        lay_out_voc(tmp_path, [2009])
    command = [sys.executable, "-m", "data.sources.voc", "--years", "2009", "--root", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 2 and "2009" in result.stderr


def test_published_numbers():
    for counts in COUNTS.values():
        assert counts["trainval"] == tuple(a + b for a, b in zip(counts["train"], counts["val"], strict=True))
    assert COUNTS["2007"]["test"] == (4952, 12032)


def test_checksums_are_those_that_torchvision_knows():
    from torchvision.datasets.voc import DATASET_YEAR_DICT

    known = {entry["filename"]: entry["md5"] for key, entry in DATASET_YEAR_DICT.items() if key != "2008"}
    for archive in (a for archives in ARCHIVES.values() for a in archives):
        assert known[archive.name] == archive.md5


def test_the_real_subset_is_not_the_full_set(repmet_data):
    with pytest.raises(ValueError, match=r"not the full VOC 2007: train: 0 images.*trainval: 491 images"):
        check_counts(repmet_data / "VOCdevkit" / "VOC2007", "2007")


def test_command_says_what_is_wrong_without_a_traceback(repmet_data):
    command = [sys.executable, "-m", "data.sources.voc", "--years", "2007", "--root", str(repmet_data)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 2 and "give another --root" in result.stderr and "Traceback" not in result.stderr
