"""Data sets that are written where files of somebody else's are: these stay."""

from pathlib import Path

import pytest
from found_in_photos import found_in_photos

from repmet import Detections, export
from repmet.data.files.output_folder import NOTE
from repmet.detection.exports import KINDS, files_of
from repmet.errors import UserError


@pytest.fixture
def results(tmp_path: Path) -> list[Detections]:
    return found_in_photos(tmp_path / "photos")


@pytest.mark.parametrize("copied", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_the_files_are_known_before_anything_is_found(results, tmp_path, kind, copied) -> None:
    """So that a command can refuse before it looks at an image."""
    export(results, tmp_path / "out", kind, images=copied)
    written = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert sorted(written - {NOTE}) == sorted(files_of([result.image for result in results], kind, copied=copied))


@pytest.mark.parametrize("kind", KINDS)
def test_marks_made_by_hand_stay(results, tmp_path, kind) -> None:
    images = [result.image for result in results]
    for name in files_of(images, kind):
        for text in ("by hand", ""):  # an empty file of labels says that there is no object
            path = tmp_path / "set" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            with pytest.raises(UserError, match="was not written by an earlier run") as raised:
                export(results, tmp_path / "set", kind)
            assert str(path) in str(raised.value) and path.read_text() == text
            assert [other for other in (tmp_path / "set").rglob("*") if other.is_file()] == [path]
            path.unlink()
    assert export(results, tmp_path / "set", kind) == export(results, tmp_path / "set", kind)


def test_photographs_are_not_replaced_by_copies(results, tmp_path) -> None:
    photo = tmp_path / "set/images/a.png"
    photo.parent.mkdir(parents=True)
    photo.write_bytes(b"another photograph of this name")
    with pytest.raises(UserError, match=r"images/a\.png: was not written"):
        export(results, tmp_path / "set", "yolo", images=True)
    assert photo.read_bytes() == b"another photograph of this name" and not (tmp_path / "set/labels").exists()


@pytest.mark.parametrize(("kind", "left"), [("yolo", "labels/a.txt"), ("voc", "Annotations/a.xml")])
def test_labels_of_other_images_are_not_taken_into_a_set(results, tmp_path, kind, left) -> None:
    """They may be of other classes: numbers in a label file are those of one list."""
    export(results[:1], tmp_path, kind)
    with pytest.raises(UserError, match=rf"{left}: is of an earlier run on other images"):
        export(results[1:], tmp_path, kind)
    assert (tmp_path / left).is_file() and len(list((tmp_path / left).parent.rglob("*.*"))) == 1
    export(results, tmp_path, kind)  # with that image among them
    (tmp_path / left).unlink()
