"""With a real Label Studio: it connects the backend, shows its proposals, and what is drawn there arrives as examples.

Opt-in: `make label-studio`, which installs Label Studio into build/label-studio, or REPMET_LABEL_STUDIO names its program.
"""

import json
import os
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest
from coloured_things import lay_out

pytest.importorskip("fastapi")
from repmet.page.label_studio import boxes
from repmet.page.marks import overlap

ROOT = Path(__file__).parents[3]
PROGRAM = Path(os.environ.get("REPMET_LABEL_STUDIO", ROOT / "build/label-studio/bin/label-studio"))
TOKEN = "0123456789abcdef0123456789abcdef01234567"
CONFIG = """<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">
<Label value="red"/></RectangleLabels></View>"""
PATIENCE = 300  # seconds
START = 1500  # seconds; a busy machine takes minutes for its two hundred migrations

pytestmark = [
    pytest.mark.labelstudio,
    pytest.mark.skipif(not PROGRAM.is_file(), reason="needs Label Studio: make label-studio"),
]


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class Studio:
    """A Label Studio of its own, with SQLite below `folder`."""

    def __init__(self, folder: Path, photos: Path) -> None:
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        environment = os.environ | {
            "LABEL_STUDIO_BASE_DATA_DIR": str(folder),
            "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED": "true",
            "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT": str(photos),
            "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
            "LABEL_STUDIO_HOST": self.address,
            "ML_BLOCK_LOCAL_IP": "false",  # the backend is on this machine
            "WEBHOOK_BLOCK_LOCAL_IP": "false",
            "SSRF_PROTECTION_ENABLED": "false",
            "COLLECT_ANALYTICS": "false",
            "LATEST_VERSION_CHECK": "false",
            "SENTRY_RATE": "0",
        }
        words = [
            PROGRAM,
            "start",
            "--no-browser",
            "--port",
            self.port,
            "--internal-host",
            "127.0.0.1",
            "--log-level",
            "INFO",
        ]
        account = ["--username", "me@example.com", "--password", "a-long-password-1", "--user-token", TOKEN]
        self.log = folder / "log.txt"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*map(str, words), *account], env=environment, stdout=log, stderr=subprocess.STDOUT, cwd=folder
            )
        wait(lambda: self.get("/api/projects/") is not None, self.log, START)

    def ask(self, method: str, path: str, body: object = None, kind: str = "application/json"):
        content = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Authorization": f"Token {TOKEN}", "Content-Type": kind}
        request = urllib.request.Request(self.address + path, content, headers, method=method)
        with urllib.request.urlopen(request, timeout=120) as response:
            return json.loads(response.read() or b"null")

    def get(self, path: str):
        return self.ask("GET", path)

    def upload(self, project: int, path: Path) -> None:
        head = (
            f'--x\r\nContent-Disposition: form-data; name="file"; filename="{path.name}"\r\nContent-Type: image/png\r\n\r\n'
        )
        self.ask("POST", f"/api/projects/{project}/import", head.encode() + path.read_bytes() + b"\r\n--x--\r\n",
                 "multipart/form-data; boundary=x")  # fmt: skip


def wait(done, log: Path, seconds: float = PATIENCE) -> object:
    """What `done` gives as soon as that is something."""
    end, problem = time.monotonic() + seconds, None
    while time.monotonic() < end:
        try:
            if answer := done():
                return answer
        except OSError as error:
            problem = error
        time.sleep(0.5)
    raise AssertionError(f"{problem}\n{log.read_text()[-4000:]}")


def test_connect_predict_annotate_learn(tmp_path, serve):
    photos = lay_out(tmp_path / "photos")
    (tmp_path / "studio").mkdir()
    studio = Studio(tmp_path / "studio", photos)
    try:
        words = ["-m", "repmet", "serve", str(photos), "--label-studio", studio.address, "--port", str(free_port())]
        backend = serve(photos, *words)
        project = studio.ask("POST", "/api/projects/", {"title": "things", "label_config": CONFIG})["id"]
        studio.upload(project, photos / "scene_0000.png")
        local = [{"image": f"/data/local-files/?d=scene_000{k}.png"} for k in (1, 2)]
        studio.ask("POST", f"/api/projects/{project}/import", local)
        tasks = wait(lambda: studio.get(f"/api/tasks?project={project}&page_size=10")["tasks"], studio.log)
        by_image = {task["data"]["image"]: task["id"] for task in tasks}
        (uploaded,) = [number for image, number in by_image.items() if image.startswith("/data/upload/")]
        first, second = (by_image[task["image"]] for task in local)

        connection = studio.ask("POST", "/api/ml", {"project": project, "url": backend.address, "title": "repmet"})
        assert studio.get(f"/api/ml/{connection['id']}")["state"] == "CO"  # connected
        assert [hook["url"] for hook in studio.get(f"/api/webhooks/?project={project}")] == [f"{backend.address}/webhook"]

        def ask_for_proposals(task: int) -> list[dict]:
            action = f"/api/dm/actions?id=retrieve_tasks_predictions&project={project}"
            studio.ask("POST", action, {"selectedItems": {"all": False, "included": [task]}})
            return studio.get(f"/api/predictions?task={task}")

        assert [row["result"] for row in ask_for_proposals(first)] == [[]]  # nothing was shown yet

        def draw(task: int, box: tuple[float, float, float, float]) -> dict:
            x1, y1, x2, y2 = box
            value = {"x": x1 / 3.2, "y": y1 / 2.4, "width": (x2 - x1) / 3.2, "height": (y2 - y1) / 2.4, "rotation": 0}
            names = {"from_name": "label", "to_name": "image", "type": "rectanglelabels", "original_width": 320}
            shape = names | {"original_height": 240, "value": value | {"rectanglelabels": ["red"]}}
            return studio.ask("POST", f"/api/tasks/{task}/annotations/", {"result": [shape]})

        draw(uploaded, (20, 30, 70, 80))  # of the uploaded image: the backend fetches it
        marks = photos / "repmet-page" / "marks.json"

        def examples() -> list[dict]:
            return json.loads(marks.read_text())["annotations"] if marks.exists() else []

        wait(lambda: len(examples()) == 1, studio.log)
        assert examples()[0]["bbox"] == pytest.approx([20, 30, 50, 50], abs=0.1)
        annotation = draw(second, (120, 130, 180, 190))
        wait(lambda: len(examples()) == 2, studio.log)

        proposed = ask_for_proposals(first)
        newest = max(proposed, key=lambda row: row["id"])
        assert newest["model_version"].startswith("repmet ") and newest["score"] > 0
        proposed_boxes = [box for box, _ in boxes(newest["result"], (320, 240))]
        assert any(overlap(box, (20, 31, 70, 81)) > 0.5 for box in proposed_boxes), proposed_boxes

        studio.ask("DELETE", f"/api/annotations/{annotation['id']}/")
        wait(lambda: len(examples()) == 1, studio.log)
        report = f"proposals of task {first}: {len(proposed_boxes)}; examples in the project: {len(examples())}"
        print(f"Label Studio at {studio.address}, backend {connection['id']} connected, {report}")
    finally:
        studio.process.terminate()
        studio.process.wait(timeout=60)
