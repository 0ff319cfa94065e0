"""Somebody at the page in a real browser, the server that they look at, and what is on disk after them."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from playwright import sync_api

ROOT = Path(__file__).parents[3]
HERE = Path(__file__).parent
SIZE = 320, 240  # of the scenes
PATIENCE = 30_000  # milliseconds; a loaded machine is no failure


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
            if match := re.search(r"http://(\S+):(\d+)/(\?token=)?\S+", line):
                self.address, self.port = match[0], int(match[2])
                return
        raise AssertionError("".join(said))

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()


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
