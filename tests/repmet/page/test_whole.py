"""Whole images sorted into classes: what a person says is on disk, teaches, and can be taken back."""

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
from coloured_images import ColourClassifier, lay_out

from repmet.errors import UserError
from repmet.page.gallery import Gallery
from repmet.page.project import Project
from repmet.page.whole_labels import WholeProject
from repmet.page.whole_session import WholeSession


@pytest.fixture
def images(tmp_path) -> Path:
    return lay_out(tmp_path / "größe ねじ")


@pytest.fixture
def opened(images):
    """Sessions on the images, one after the other."""
    sessions = []

    def open_session() -> WholeSession:
        for session in sessions:
            session.end()
        project = images / "repmet-page"
        sessions.append(WholeSession(Gallery([images], project), WholeProject(project), ColourClassifier))
        sessions[-1].start()
        assert sessions[-1].wait(20), sessions[-1].problem
        return sessions[-1]

    yield open_session
    for session in sessions:
        session.end()


@pytest.fixture
def session(opened) -> WholeSession:
    return opened()


def sorted_into(session) -> dict[str | None, list[int]]:
    assert session.wait(20), session.problem
    return {name: [number for number, *_ in rows] for name, rows in session.sections()}


def test_a_few_examples_sort_the_rest_the_surest_first(session):
    assert sorted_into(session) == {None: list(range(12))}
    session.assign([0], "red")
    session.assign([1], " blue ")
    session.assign([2], "green")
    assert sorted_into(session) == {"red": [0, 3, 6, 9], "blue": [1, 4, 7, 10], "green": [2, 5, 8, 11], None: []}
    (_, rows), *_ = session.sections()
    assert rows[0] == (0, None, True) and not rows[1][2]
    shares = [share for _, share, _ in rows[1:]]
    assert shares == sorted(shares, reverse=True) and 1 / 3 < shares[-1] < shares[0] <= 1


def test_a_correction_teaches_and_can_be_taken_back(session):
    session.assign([0], "red")
    session.assign([1], "blue")
    before = sorted_into(session)
    assert 11 in before["red"] + before["blue"]
    session.assign([2, 11], "green")
    after = sorted_into(session)
    assert set(after["green"]) == {2, 5, 8, 11} and after["green"][:2] == [2, 11]
    assert session.undo() and sorted_into(session) == before
    session.assign([0, 1], None)
    assert sorted_into(session)[None] == list(range(12))
    assert session.undo() and session.undo() and session.undo() and not session.undo()


def test_accepting_keeps_the_classes_that_images_were_sorted_into(session):
    session.assign([0], "red")
    session.assign([1], "blue")
    sorted_into(session)
    session.accept([3, 4, 0])
    labels = session.project.state.by_image
    assert [labels[session.names[n]] for n in (0, 3, 1, 4)] == ["red", "red", "blue", "blue"]


def test_it_is_all_there_again(session, opened, images):
    session.assign([0, 3], "red")
    session.assign([1], "blue <b>")
    before = sorted_into(session)
    content = json.loads((images / "repmet-page" / "whole.json").read_text(encoding="utf-8"))
    assert content["labels"] == {"image_0000.png": "red", "image_0001.png": "blue <b>", "image_0003.png": "red"}
    assert sorted_into(opened()) == before


def test_two_pages_on_one_folder_refuse_each_other(session, images):
    for kind in (WholeProject, Project):
        with pytest.raises(UserError, match="another page has this project open"):
            kind(images / "repmet-page")


def test_what_is_no_project_is_not_written_over(images):
    folder = images / "repmet-page"
    folder.mkdir()
    for text in ("{", "[]", '{"format": "x"}', '{"format": "repmet-page-whole-1", "classes": ["a"], "labels": {"i": "b"}}'):
        (folder / "whole.json").write_text(text)
        with pytest.raises(UserError, match=r"whole\.json"):
            WholeProject(folder)
        assert (folder / "whole.json").read_text() == text


def test_images_that_cannot_be_read_are_left_out(images, opened):
    (images / "image_0005.png").write_text("no picture")
    session = opened()
    session.assign([0], "red")
    session.assign([1], "blue")
    everywhere = [number for numbers in sorted_into(session).values() for number in numbers]
    assert len(everywhere) == 11 and 5 not in everywhere and "image_0005.png" in session.unreadable[5]
    assert session.progress() == (11, 11)


@pytest.mark.parametrize("number", [12, -1, "0", None, 1.0])
def test_numbers_of_no_image_are_refused(session, number):
    with pytest.raises(UserError, match="there is no image"):
        session.assign([number], "red")
    with pytest.raises(UserError, match="name"):
        session.assign([0], " \n")
    assert not session.project.state.by_image


def test_export_is_a_support_set_and_a_table_of_all(session):
    with pytest.raises(UserError, match="nothing to export"):
        session.export()
    session.assign([0], "red")
    session.assign([1], "blue")
    sorted_into(session)
    folder = session.export()
    from repmet.classification.support_images import read_support_images

    support = read_support_images(folder / "labels.csv")
    assert {name: [image.path.name for image in shown] for name, shown in support.items()} == {
        "blue": ["image_0001.png"],
        "red": ["image_0000.png"],
    }
    with (folder / "sorted.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert (
        len(rows) == 12
        and sum(row["said"] == "yes" for row in rows) == 2
        and {row["class"] for row in rows} == {"red", "blue"}
    )


def test_the_classifier_of_the_package_serves(tmp_path):
    """`FewShotClassifier.posterior` is what `learn` and `predict` give."""
    pytest.importorskip("timm")
    from repmet import FewShotClassifier

    folder = lay_out(tmp_path / "images", 9)
    paths = sorted(folder.iterdir())
    classifier = FewShotClassifier()
    labels = ["red", "blue", "green", "red", *[None] * 5]
    classes, shares = classifier.posterior(np.asarray(classifier.embed(paths)), labels)
    support = {name: [p for p, label in zip(paths, labels, strict=True) if label == name] for name in classes}
    expected = [p.probabilities for p in classifier.learn(support, progress=False).predict(paths, progress=False)]
    assert classes == classifier.classes == ("blue", "green", "red")
    np.testing.assert_allclose(shares, np.stack(expected), atol=1e-5)
    for wrong in ([None] * 9, ["a"]):
        with pytest.raises(UserError, match="name a class"):
            classifier.posterior(np.asarray(classifier.embed(paths)), wrong)


# --- in a browser ---


@pytest.mark.browser
def test_sort_on_the_wall(tmp_path, chromium, serve):
    sync_api = pytest.importorskip("playwright.sync_api")
    pytest.importorskip("nicegui")
    from person import HERE, PATIENCE

    folder = lay_out(tmp_path / "images")
    server = serve(folder, str(HERE / "coloured_images.py"), str(folder), str(folder / "repmet-page"))
    page = chromium.new_context(viewport={"width": 1280, "height": 720}).new_page()
    page.set_default_timeout(PATIENCE)
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(server.address)
    page.wait_for_selector("[data-number='11']")
    sync_api.expect(page.locator("[data-test=hint]")).to_contain_text("press C")

    def click(*numbers: int) -> None:
        for number in numbers:
            page.locator(f"[data-number='{number}']").click()

    def name(text: str) -> None:
        page.keyboard.press("c")
        page.wait_for_selector("[data-test=name-dialog] input:focus")
        page.keyboard.type(text)
        page.keyboard.press("Enter")
        page.wait_for_selector("[data-test=name-dialog]", state="hidden")

    def labels() -> dict[str, str]:
        path = folder / "repmet-page" / "whole.json"
        return json.loads(path.read_text(encoding="utf-8"))["labels"] if path.exists() else {}

    def until(count: int) -> None:
        sync_api.expect(page.locator(".wall-labelled")).to_have_count(count, timeout=PATIENCE)

    click(0, 3)
    name("red")
    until(2)
    click(1, 4)
    name("blue")
    until(4)
    head = page.locator("[data-section=blue]")
    sync_api.expect(head).to_contain_text("✓ 2", timeout=PATIENCE)
    sync_api.expect(page.locator("[data-section='Not sorted']")).to_have_count(0)
    click(2)
    name("green")
    until(5)
    sync_api.expect(page.locator("[data-section=green]")).to_contain_text("✓ 1", timeout=PATIENCE)
    page.wait_for_timeout(500)  # pictures still move to their sections
    page.locator("[data-number='11']").drag_to(page.locator("[data-section=green]"))
    until(6)
    assert labels()["image_0011.png"] == "green"
    click(8)
    page.keyboard.press("3")
    until(7)
    click(6)
    page.keyboard.press("Enter")
    until(8)
    assert labels()["image_0006.png"] == "red" and labels()["image_0008.png"] == "green"
    page.keyboard.press("Control+z")
    until(7)
    click(0)
    page.keyboard.press("Delete")
    until(6)
    assert "image_0000.png" not in labels()
    before = labels()
    if shots := os.environ.get("REPMET_SCREENSHOTS"):
        page.screenshot(path=f"{shots}/whole.png")
    server.kill()
    assert labels() == before
    again = serve(folder, str(HERE / "coloured_images.py"), str(folder), str(folder / "repmet-page"))
    page.goto(again.address)
    until(6)
    assert not [error for error in errors if "WebSocket" not in error]
