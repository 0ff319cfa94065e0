"""The reader of VOC's annotations: boxes and names as they are, and one line for all that is broken."""

import re

import numpy as np
import pytest
from PIL import Image

from repmet.data.readers.devkit import read_image_set
from repmet.data.readers.voc_annotation import shares_problem, tell_left_out
from tests.data.readers.devkits import thing, xml


def test_records(devkit):
    b, a, c = read_image_set(devkit, "train", classes=["cat", "dog"])
    assert (b.id, a.id, c.id) == ("b", "a", "c")  # the list's order
    assert (a.width, a.height, a.path) == (60, 40, devkit / "JPEGImages" / "a.jpg")
    assert a.names == ("cat",) and c.names == ("cat", "dog")
    assert a.boxes.dtype == np.float32 and a.boxes.tolist() == [[0, 1, 30, 39]]  # one subtracted from all four
    assert b.boxes.tolist() == [[1.5, 2.25, 19.75, 29]]  # fractions kept, the part's box and name ignored
    assert c.difficult.dtype == bool and c.difficult.tolist() == [True, False]


def test_names_in_a_namespace_are_names(devkit):
    """As tools write that take the annotation for a document of a schema."""
    path = devkit / "Annotations/a.xml"
    before = read_image_set(devkit, "train", classes=["cat", "dog"])[1]
    text = path.read_text()
    assert "<annotation>" in text
    path.write_text(text.replace("<annotation>", '<annotation xmlns="http://example.org/voc"><!-- by a tool -->'))
    after = read_image_set(devkit, "train", classes=["cat", "dog"])[1]
    assert after.boxes.tolist() == before.boxes.tolist() and after.names == before.names


def test_an_image_without_objects_is_kept(devkit):
    (devkit / "Annotations/a.xml").write_text(xml())
    record = read_image_set(devkit, "train")[1]
    assert record.boxes.shape == (0, 4) and record.names == () and record.difficult.shape == (0,)


def test_a_box_that_sticks_out_by_less_than_two_pixels_is_clipped(devkit):
    (devkit / "Annotations/a.xml").write_text(xml(thing("cat", 0, 0, 61.9, 42.9)))
    assert read_image_set(devkit, "train")[1].boxes.tolist() == [[0, 0, 60, 40]]
    (devkit / "Annotations/a.xml").write_text(xml(thing("cat", 0, 0, 63, 40)))
    with pytest.raises(ValueError, match="outside the image of 60x40"):
        read_image_set(devkit, "train")


def test_a_box_half_a_pixel_before_the_first_is_clipped(devkit):
    """xmin 0 is x = -1 from 0, within the tolerance of two pixels; xmin -1 is beyond it."""
    (devkit / "Annotations/a.xml").write_text(xml(thing("cat", -0.9, 0, 31, 40)))
    assert read_image_set(devkit, "train")[1].boxes.tolist() == [[0, 0, 30, 39]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (xml(thing("cat", 10, 10, 90, 20)), r"a\.xml: object 1 \(cat\): box \(10, 10, 90, 20\) lies outside .*60x40"),
        (xml(thing("cat", -9, 10, 20, 20)), "lies outside"),
        (xml(thing("cat", 10, 10, 10, 20)), "has no area"),
        (xml(thing("cat", 20, 10, 10, 20)), "has no area"),
        (xml(thing("cat", 61.5, 10, 62, 20)), "has no area"),  # within tolerance of the border, nothing left inside
        (xml(thing("dog", 1, 1, 9, 9), thing("cat", "", 10, 10, 20)), r"object 2 \(cat\) lacks a number in <bndbox>"),
        (xml(thing("cat", "nan", 10, 10, 20)), "lacks a number"),
        (xml(thing("cat", 1, 1, 9, 9).replace("</object>", "<bndbox></bndbox></object>")), r"\(cat\) has 2 <bndbox>; write"),
        (xml(thing("", 1, 1, 10, 20)), "has no <name>"),
        (xml("<object><name>cat</name></object>"), "lacks a number"),
        (xml(thing("cat", 1, 1, 9, 9), size=""), "no <size>"),
        (xml(thing("cat", 1, 1, 9, 9), size="<size><width>0</width><height>0</height></size>"), "no <size>"),
        (xml(thing("cat", 1, 1, 9, 9))[:-20], r"a\.xml: not well-formed XML"),
        ("", "not well-formed XML"),
        (None, r"a\.xml: the annotation is missing"),
        (
            xml(size="<size><width>40</width><height>60</height></size>"),
            "60x40 .* 40x60; width and height are exchanged",
        ),
        (xml(size="<size><width>60</width><height>41</height></size>"), "says 60x41; one of the two is wrong"),
    ],
)
def test_broken_annotation(devkit, content, message):
    path = devkit / "Annotations/a.xml"
    path.unlink()
    if content is not None:
        path.write_text(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_image_set(devkit, "train")
    assert ": 1 problem:\n" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (xml(thing("cat", -1, 2, 31, 40)), "lies outside the image"),
        (xml(thing("cat", 1, -1, 31, 40)), "lies outside the image"),
        (xml(thing("cat", -0.5, 10, 0.5, 20)), "has no area"),  # within tolerance before the first pixel
        (xml(thing("cat", 10, -0.5, 20, 0.5)), "has no area"),
        (xml(thing("cat", 0.1, 0.2, 0.7, 0.9)), "are these shares of the image"),
        (xml(thing("cat", 1, 1, 9, 9), size="<size><width>60</width></size>"), "no <size>"),
        (xml(thing("cat", 1, 1, 9, 9), size="<size><width>60</width><height>x</height></size>"), "no <size>"),
        (xml(thing("cat", 1, 1, 9, 9), size="<size><width>60.5</width><height>40</height></size>"), "no <size>"),
    ],
)
def test_more_broken_annotations(devkit, content, message):
    (devkit / "Annotations/a.xml").write_text(content)
    with pytest.raises(ValueError, match=message):
        read_image_set(devkit, "train")


@pytest.mark.parametrize("corner", ["1_0", "1_0.5", "_1"])
def test_underscores_are_no_digits(devkit, corner):
    (devkit / "Annotations/a.xml").write_text(xml(thing("cat", corner, 2, 31, 40)))
    with pytest.raises(ValueError, match=r"object 1 \(cat\) lacks a number in <bndbox>"):
        read_image_set(devkit, "train")
    size = "<size><width>6_0</width><height>40</height></size>"
    (devkit / "Annotations/a.xml").write_text(xml(thing("cat", 1, 2, 31, 40), size=size))
    with pytest.raises(ValueError, match="no <size> with <width> and <height>"):
        read_image_set(devkit, "train")


@pytest.mark.parametrize("tag", ["name", "xmin", "ymax", "difficult", "bndbox"])
def test_of_two_of_a_kind_none_is_taken_in_silence(devkit, tag):
    doubled = re.sub(rf"<{tag}>.*</{tag}>", r"\g<0>\g<0>", thing("cat", 1, 2, 31, 40))
    (devkit / "Annotations/a.xml").write_text(xml(doubled))
    with pytest.raises(ValueError, match=rf"object 1 \(cat\) has 2 <{tag}>; write an <object> for each box"):
        read_image_set(devkit, "train")


@pytest.mark.parametrize(
    ("word", "hard"),
    [
        ("0", False), ("1", True), ("False", False), ("TRUE", True), ("no", False), ("Yes", True), ("0.0", False),
        ("1.0", True), ("Unspecified", False), ("", False), ("  \n ", False), (" 1 ", True), ("none", False), ("2", True),
    ],
)  # fmt: skip
def test_difficult_as_people_write_it(devkit, word, hard):
    (devkit / "Annotations/a.xml").write_text(xml(thing("cat", 1, 2, 31, 40, more=f"<difficult>{word}</difficult>")))
    assert read_image_set(devkit, "train")[1].difficult.tolist() == [hard]


def test_difficult_that_is_neither(devkit):
    (devkit / "Annotations/a.xml").write_text(xml(thing("cat", 1, 2, 31, 40, more="<difficult>perhaps</difficult>")))
    with pytest.raises(ValueError, match=r"a\.xml: object 1 \(cat\): <difficult> 'perhaps' is neither yes nor no"):
        read_image_set(devkit, "train")
    (devkit / "Annotations/a.xml").write_text(xml(thing("cat", 1, 2, 31, 40, more="")))
    assert read_image_set(devkit, "train")[1].difficult.tolist() == [False]


def test_no_entity_is_followed(devkit, tmp_path):
    """Neither one that grows to a gigabyte nor one of another file."""
    (tmp_path / "secret.txt").write_text("cat")
    laughs = "".join(f'<!ENTITY e{k} "{f"&e{k - 1};" * 10}">' for k in range(1, 10))
    for kinds, name in (
        (f'<!ENTITY e0 "ha">{laughs}', "&e9;"),
        (f'<!ENTITY file SYSTEM "{tmp_path}/secret.txt">', "&file;"),
    ):
        content = f"<!DOCTYPE annotation [{kinds}]>{xml(thing(name, 1, 1, 9, 9))}"
        (devkit / "Annotations/a.xml").write_text(content)
        with pytest.raises(ValueError, match=r"a\.xml: (not well-formed XML|object 1 has no <name>)"):
            read_image_set(devkit, "train")


@pytest.mark.parametrize(("number", "more"), [(10, None), (11, "... and 1 more"), (12, "... and 2 more")])
def test_ten_problems_are_shown_and_the_others_counted(devkit, number, more):
    (devkit / "Annotations/a.xml").write_text(xml(*[thing("cat", 10, 10, 10, 20)] * number))
    with pytest.raises(ValueError, match=f": {number} problems:\n") as caught:
        read_image_set(devkit, "train")
    lines = str(caught.value).split("\n  ")
    assert len(lines) == 11 + (more is not None) and (more is None or lines[-1] == more)


@pytest.mark.parametrize("size", [(1, 40), (60, 1), (1, 1)])
def test_an_image_of_a_single_row_or_column_has_a_size(devkit, size):
    """And a box of its first pixel is no share of it."""
    Image.new("RGB", size).save(devkit / "JPEGImages/a.jpg")
    text = "<size><width>{}</width><height>{}</height></size>".format(*size)
    (devkit / "Annotations/a.xml").write_text(xml(thing("cat", 1, 1, 2, 2), size=text))
    record = read_image_set(devkit, "train")[1]
    assert (record.width, record.height) == size and record.boxes.tolist() == [[0, 0, 1, 1]]


def test_shares_are_told_from_pixels_in_all_but_a_single_row_or_column():
    assert shares_problem((0.2, 0.1, 1, 0.9), 2, 2).startswith("is no larger than a pixel of 2x2: are these shares")
    assert shares_problem((0.2, 0.1, 1.5, 0.9), 2, 2) is None
    assert shares_problem((0, 0, 1, 1), 1, 40) is None


def test_of_what_is_left_out_the_first_is_named(caplog):
    with pytest.raises(ValueError, match=r"^nothing is left; a\.jpg: cut off$"):
        tell_left_out(["a.jpg: cut off", "b.jpg: no picture"], [], "nothing is left")
    assert "2 images or boxes are left out, the first: a.jpg: cut off" in caplog.text
    with pytest.raises(ValueError, match=r"^nothing is left$"):
        tell_left_out([], [], "nothing is left")
