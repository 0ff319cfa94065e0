"""CVAT's XML as an annotated folder: what an export of ours and one of CVAT's say, and what is wrong with others."""

import numpy as np
import pytest
from PIL import Image

from repmet.data.readers.annotated_folder import is_annotated, list_names, read_images

HEAD = '<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version><meta><task><name>t</name></task></meta>'
IMAGES = """<image id="0" name="a b.png" width="120" height="80">
<box label="nut &amp; bolt" source="manual" occluded="0" xtl="10.50" ytl="20.00" xbr="60.00" ybr="79.99" z_order="0">
<attribute name="x">1</attribute></box>
<polygon label="nut &amp; bolt" points="1,1;5,5;1,5"/></image>
<image id="1" name="sub/größe ねじ.png" width="120" height="80"></image>"""


@pytest.fixture
def folder(tmp_path):
    for name in ("a b.png", "sub/größe ねじ.png"):
        path = tmp_path / "set" / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (120, 80)).save(path)
    (tmp_path / "set" / "annotations.xml").write_text(f"{HEAD}{IMAGES}</annotations>", encoding="utf-8")
    return tmp_path / "set"


def test_boxes_and_empty_images_are_read(folder, caplog):
    assert is_annotated(folder) and list_names(folder)["train"] == "train"
    for root in (folder, folder / "annotations.xml"):
        first, second = read_images(root)
        assert (first.id, first.names, first.path) == ("a b", ("nut & bolt",), folder / "images" / "a b.png")
        np.testing.assert_allclose(first.boxes, [[10.5, 20, 60, 79.99]], atol=1e-4)
        assert (second.id, second.names, second.boxes.shape) == ("sub/größe ねじ", (), (0, 4))
    assert [line for line in caplog.messages if "1 shape that are no boxes" in line]
    assert len(read_images(folder, "train")) + sum(1 for _ in _dealt_to_test(folder)) == 2


def _dealt_to_test(folder):
    from repmet.data.readers.parts import dealt

    return [record for record in read_images(folder) if dealt(record.id, "test")]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('xbr="60.00"', 'xbr="900"', "image 'a b.png': box"),
        ('ytl="20.00" ', "", "lacks a number"),
        ('xtl="10.50"', 'xtl="nan"', "lacks a number"),
        ('xtl="10.50"', 'xtl="1_0"', "lacks a number"),
        ('width="120"', 'width="1_20"', "no width and height"),
        ('xbr="60.00"', 'xbr="inf"', "lacks a number"),
        ('width="120"', "", "no width and height"),
        ('width="120"', 'width="0"', "no width and height"),
        ('width="120"', 'width="121"', "121x80; one of the two is wrong"),
        ("a b.png", "gone.png", "gone.png"),
        ('label="nut &amp; bolt" source', 'label=" " source', "has no label"),
        ("</annotations>", "", "damaged"),
    ],
)
def test_what_is_wrong_is_named(folder, old, new, message):
    path = folder / "annotations.xml"
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        read_images(folder)


def test_xml_of_voc_is_none_of_cvat(folder):
    (folder / "annotations.xml").write_text("<annotation><filename>a b.png</filename></annotation>")
    with pytest.raises((ValueError, FileNotFoundError)):
        read_images(folder)
