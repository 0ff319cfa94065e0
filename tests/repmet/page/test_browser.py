"""The page in a real browser: what a person does with mouse, keys and fingers, and what is there after a kill."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import quote

import pytest
from coloured_things import lay_out

sync_api = pytest.importorskip("playwright.sync_api")
pytest.importorskip("nicegui")
from person import PATIENCE, ROOT, Person, states  # noqa: E402

pytestmark = pytest.mark.browser


def test_mark_one_see_all_others(tmp_path, chromium, serve):
    """From the first box to the export, a reload and a kill: nothing is lost."""
    folder = lay_out(tmp_path / "größe ねじ")
    server = serve(folder)
    context = chromium.new_context(viewport={"width": 1280, "height": 720})
    person = Person(context, server.address)
    person.says("hint", "Draw a box around one thing")
    person.drag(18, 28, 72, 82)
    person.name("rote Kugel <b>")  # and no letter of it is read as HTML
    person.wait("accepted", 1)
    person.wait("found", 1)
    person.says("class", "rote Kugel <b>")
    assert states(folder) == [("rote Kugel <b>", "accepted")]

    person.click(150, 160)  # a find
    person.wait("accepted", 2)
    person.click(150, 160)
    person.wait("rejected", 1)
    person.press("Control+z")
    person.wait("accepted", 2)
    person.wait("rejected", 0)

    person.press("ArrowRight")
    person.says("title", "scene_0001.png · 2 of 4")
    person.wait("found", 3)
    slider = person.page.locator("[data-test=class] .q-slider [tabindex]")
    slider.focus()
    for _ in range(8):
        slider.press("ArrowRight")  # past the pink one
    person.wait("found", 2)
    person.page.locator("[data-test=stage]").focus()
    person.press("Control+z")
    person.press("Enter")  # the best
    person.wait("accepted", 1)
    person.press("Tab", "Delete")
    person.wait("rejected", 1)

    person.drag(218, 38, 282, 92)  # the blue one is red at first, as that is what was drawn last
    person.wait("accepted", 2)
    person.press("c")
    person.name("blue")
    person.says("chips", "2 blue")
    sync_api.expect(person.page.locator("[data-test=class]")).to_have_count(2)
    person.drag(282, 65, 290, 65)  # its right side
    person.press("n")
    person.says("title", "of 4")
    assert states(folder).count(("blue", "accepted")) == 1 and len(states(folder)) == 5
    width = json.loads((folder / "repmet-page" / "marks.json").read_text(encoding="utf-8"))["annotations"][-1]["bbox"][2]
    assert width == pytest.approx(72, abs=1.5)

    person.page.get_by_role("button", name="Export").first.click()
    person.page.locator("[data-test=export-dialog]").get_by_role("button", name="Export").click()
    person.says("export-answer", "4 boxes in")
    (written,) = (folder / "repmet-page" / "exports").glob("coco-*/annotations.json")
    assert len(json.loads(written.read_text(encoding="utf-8"))["annotations"]) == 4
    person.press("Escape")

    before = states(folder)
    person.page.reload()
    person.page.wait_for_selector("[data-test=stage] image")
    sync_api.expect(person.page.locator("[data-test=class]")).to_have_count(2)
    person.drag(30, 180, 60, 220)
    person.wait("accepted", 1)
    server.kill()
    assert states(folder) == [*before, ("rote Kugel <b>", "accepted")]

    again = serve(folder)
    other = Person(chromium.new_context(), again.address)
    sync_api.expect(other.page.locator("[data-test=class]")).to_have_count(2)
    other.says("counts", "✓ 4")
    other.wait("accepted", 2)
    assert not person.errors or all("WebSocket" in error or "ERR_" in error for error in person.errors), person.errors
    assert not other.errors
    hosts = {url.split("/")[2] for url in person.asked + other.asked if url.startswith("http")}
    assert hosts == {f"127.0.0.1:{server.port}", f"127.0.0.1:{again.port}"}


def test_examples_are_looked_through(tmp_path, chromium, serve):
    folder = lay_out(tmp_path / "scenes")
    person = Person(chromium.new_context(), serve(folder).address)
    person.press("e")
    person.says("supports", "No examples yet")
    person.press("e")
    for name, box in (("red", (18, 28, 72, 82)), ("blue", (218, 38, 282, 92))):
        person.press("c")
        person.name(name)
        person.drag(*box)
        person.page.wait_for_function(f"document.querySelectorAll('g.box-accepted[data-name={name}]').length === 1")
        person.press("Escape")
        if name == "red":
            person.press("Escape")
    person.press("e")
    crops = person.page.locator("[data-test=crop]")
    sync_api.expect(crops).to_have_count(2)
    crops.first.get_by_role("button", name="Move").click()
    person.page.locator(".q-menu .q-item", has_text="blue").click()
    person.says("supports", "blue: 2 accepted")
    crops.first.get_by_role("button", name="Delete").click()
    sync_api.expect(crops).to_have_count(1)
    assert len(states(folder)) == 1
    person.press("Control+z", "Control+z")
    sync_api.expect(crops).to_have_count(2)
    assert sorted(states(folder)) == [("blue", "accepted"), ("red", "accepted")]
    assert not person.errors


def test_fingers_draw_and_two_of_them_zoom(tmp_path, chromium, serve):
    folder = lay_out(tmp_path / "scenes")
    context = chromium.new_context(viewport={"width": 820, "height": 1180}, has_touch=True)
    person = Person(context, serve(folder).address)
    fingers = context.new_cdp_session(person.page)

    def touch(kind: str, *points: tuple[float, float]) -> None:
        places = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(points)]
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})

    (a, b), (c, d) = person.at(18, 28), person.at(72, 82)
    touch("touchStart", (a, b))
    touch("touchMove", ((a + c) / 2, (b + d) / 2))
    touch("touchMove", (c, d))
    touch("touchEnd")
    person.name("red")
    person.wait("found", 1)
    before = person.page.locator("[data-test=stage] image").bounding_box()["width"]
    x, y = person.at(160, 120)
    touch("touchStart", (x - 40, y))
    touch("touchStart", (x - 40, y), (x + 40, y))
    touch("touchMove", (x - 80, y), (x + 80, y))
    touch("touchEnd")
    person.page.wait_for_function(
        "w => document.querySelector('[data-test=stage] image').getBoundingClientRect().width > 1.8 * w", arg=before
    )
    assert len(states(folder)) == 1 and not person.errors


def test_thousands_of_images(tmp_path, chromium, serve):
    """The strip has as many elements as are seen, however far one scrolls, and the server's memory stays bounded."""
    (first, *_), folder = sorted(lay_out(tmp_path / "one", 1).iterdir()), tmp_path / "many"
    folder.mkdir()
    for number in range(2000):
        os.link(first, folder / f"scene_{number:04d}.png")
    server = serve(folder)
    person = Person(chromium.new_context(viewport={"width": 1280, "height": 720}), server.address)
    person.drag(18, 28, 72, 82)
    person.name("red")
    person.wait("found", 1)
    strip = person.page.locator("[data-test=strip]")
    slowest = strip.evaluate(
        """async (strip) => {
          let slowest = 0, last = performance.now();
          for (let k = 0; k < 60; k++) {
            strip.scrollTop += 900;
            await new Promise(requestAnimationFrame);
            const now = performance.now();
            slowest = Math.max(slowest, now - last);
            last = now;
          }
          strip.scrollTop = strip.scrollHeight;
          return slowest;
        }"""
    )
    sync_api.expect(person.page.locator(".strip-item", has_text="scene_1999.png")).to_be_visible(timeout=PATIENCE)
    assert person.page.locator(".strip-item").count() < 30
    assert slowest < 1000  # milliseconds, of a frame, while everything is looked at beside it
    person.page.locator(".strip-item", has_text="scene_1999.png").click()
    person.says("title", "scene_1999.png · 2000 of 2000")
    person.wait("found", 2)
    looked_at = person.page.locator("[data-test=progress]").first
    sync_api.expect(looked_at).to_contain_text("all 2000 images looked at", timeout=6 * PATIENCE)
    if Path(f"/proc/{server.process.pid}/status").exists():
        held = int(re.search(r"VmRSS:\s*(\d+)", Path(f"/proc/{server.process.pid}/status").read_text())[1]) / 1024
        assert held < 600  # MiB
    assert not person.errors


def test_nobody_else_gets_anything(tmp_path, serve):
    """The real server, spoken to as no browser would: without the token, and with it by paths that lead elsewhere."""
    folder = lay_out(tmp_path / "scenes", 2)
    (tmp_path / "secret.png").write_bytes(b"what nobody may read")
    server = serve(folder)

    def get(path: str, cookie: str = "") -> tuple[int, bytes, str]:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        connection.putrequest("GET", path, skip_host=False)
        if cookie:
            connection.putheader("Cookie", cookie)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.getheader("set-cookie") or ""

    inside = ["/", "/image/0", "/thumbnail/0", "/crop/1", "/_nicegui_ws/socket.io/?EIO=4&transport=polling", "/favicon.ico"]
    for path in inside:
        assert get(path)[0] == 403 and get(path + ("&" if "?" in path else "?") + "token=x")[0] == 403
    status, _, cookie = get(server.address.partition(str(server.port))[2])
    assert status == 200
    cookie = cookie.partition(";")[0]
    assert get("/image/0", cookie)[0] == 200 and get("/image/1", cookie)[0] == 200
    for path in (
        "/image/2", "/image/-1", "/image/99999999999999999999", "/image/0/../../secret.png", "/image/..%2f..%2fsecret.png",
        "/image/%2e%2e/%2e%2e/secret.png", f"/image/{tmp_path}/secret.png", f"/{tmp_path}/secret.png", "/../secret.png",
        "/image/..%c0%af..%c0%afsecret.png", "/image/%EF%BC%8E%EF%BC%8E/secret.png", "/image/0%00.png", "/thumbnail/..",
        "/crop/1", quote("/image/\u0660"), quote("/image/\u0660/x"),
    ):  # fmt: skip
        status, content, _ = get(path, cookie)
        assert b"what nobody may read" not in content, path  # an answer may repeat the address
        assert status in (404, 415, 422, 400) or (status == 200 and b"<!doctype html>" in content.lower()), (path, status)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_the_command_with_the_detector_that_ships(tmp_path, chromium, serve):
    """`repmet page FOLDER` as it is typed; a second one on the folder is refused in one line."""
    pytest.importorskip("mmdet")
    folder = lay_out(tmp_path / "scenes", 2)
    command = ("-m", "repmet", "page", str(folder), "--no-browser")
    server = serve(folder, *command)
    person = Person(chromium.new_context(), server.address)
    person.drag(18, 28, 72, 82)
    person.name("red")
    person.wait("accepted", 1)
    second = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (
        second.returncode == 2 and "another page has this project open" in second.stderr and "Traceback" not in second.stderr
    )
    person.page.set_default_timeout(4 * PATIENCE)
    person.page.wait_for_selector("g.box-found")
    person.click(149, 162)  # the second red thing
    person.wait("accepted", 2)
    deadline = time.monotonic() + 60
    while not (folder / "repmet-page" / "classes.repmet").exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    server.kill()
    assert states(folder) == [("red", "accepted")] * 2
    assert (folder / "repmet-page" / "classes.repmet").stat().st_size > 1000
    assert not [error for error in person.errors if "WebSocket" not in error and "ERR_" not in error]
