"""The page in a real browser: what a person does with mouse, keys and fingers, and what is there after a kill."""

import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from coloured_things import lay_out

sync_api = pytest.importorskip("playwright.sync_api")
pytest.importorskip("nicegui")

ROOT = Path(__file__).parents[3]
HERE = Path(__file__).parent
SIZE = 320, 240  # of the scenes
PATIENCE = 30_000  # milliseconds; a loaded machine is no failure
pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def chromium() -> Iterator:
    names = ("chromium", "chromium-browser", "google-chrome")
    program = os.environ.get("REPMET_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    with sync_api.sync_playwright() as playwright:
        program = program or playwright.chromium.executable_path
        if not Path(program).exists():
            pytest.skip("needs chromium: make browser")
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


class Server:
    """A page's process."""

    def __init__(self, *words: str) -> None:
        self.words, self.process = words, None
        self.start()

    def start(self) -> None:
        environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT), *sys.path)), "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, *self.words],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        said = []
        for line in self.process.stdout:
            said.append(line)
            if match := re.search(r"http://(\S+):(\d+)/\?token=\S+", line):
                self.address, self.port = match[0], int(match[2])
                return
        raise AssertionError("".join(said))

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture
def serve(tmp_path) -> Iterator:
    """Starts a page on a folder with the colour detector."""
    servers = []

    def start(folder: Path, *words: str) -> Server:
        servers.append(Server(*(words or (str(HERE / "coloured_things.py"), str(folder), str(folder / "repmet-page")))))
        return servers[-1]

    yield start
    for server in servers:
        server.kill()


class Person:
    """Somebody at the page: coordinates are pixels of the image."""

    def __init__(self, context, address: str) -> None:
        self.page, self.errors, self.asked = context.new_page(), [], []
        self.page.set_default_timeout(PATIENCE)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(address)
        self.page.wait_for_selector("[data-test=stage] image")

    def at(self, x: float, y: float) -> tuple[float, float]:
        box = self.page.locator("[data-test=stage] image").bounding_box()
        width, height = SIZE
        return box["x"] + x / width * box["width"], box["y"] + y / height * box["height"]

    def drag(self, x1: float, y1: float, x2: float, y2: float) -> None:
        (a, b), (c, d) = self.at(x1, y1), self.at(x2, y2)
        self.page.mouse.move(a, b)
        self.page.mouse.down()
        self.page.mouse.move(c, d, steps=5)
        self.page.mouse.up()

    def click(self, x: float, y: float) -> None:
        self.page.mouse.click(*self.at(x, y))

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def wait(self, verdict: str, count: int) -> None:
        """Until so many boxes of a verdict are on the image."""
        sync_api.expect(self.page.locator(f"g.box-{verdict}")).to_have_count(count, timeout=PATIENCE)

    def says(self, where: str, text: str) -> None:
        sync_api.expect(self.page.locator(f"[data-test={where}]").first).to_contain_text(text, timeout=PATIENCE)

    def name(self, name: str) -> None:
        self.page.wait_for_selector("[data-test=name-dialog] input:focus")
        self.page.keyboard.type(name)
        self.press("Enter")
        self.page.wait_for_selector("[data-test=name-dialog]", state="hidden")


def states(folder: Path) -> list[tuple[str, str]]:
    content = json.loads((folder / "repmet-page" / "marks.json").read_text(encoding="utf-8"))
    names = {row["id"]: row["name"] for row in content["categories"]}
    return [(names[row["category_id"]], row["state"]) for row in content["annotations"]]


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
