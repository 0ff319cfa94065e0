"""Behind Label Studio, spoken to by HTTP as it speaks: proposals, what is drawn teaches, nobody reaches anything else."""

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import quote

import pytest
from coloured_things import ColourDetector, lay_out

pytest.importorskip("fastapi")
from starlette.testclient import TestClient

from repmet.errors import UserError
from repmet.page.backend import Backend
from repmet.page.label_studio import boxes, read_interface, regions
from repmet.page.label_studio_app import LARGEST_BODY, application
from repmet.page.project import Project
from repmet.page.serve import kept_token, main
from repmet.page.task_images import TaskImages
from repmet.page.teacher import Teacher

TOKEN = "a-token-that-nobody-guesses"
CONFIG = """<View><Image name="image" value="$photo"/><RectangleLabels name="label" toName="image">
<Label value="red"/><Label value="blau &amp; größer"/></RectangleLabels></View>"""
RED_ONE, RED_TWO, SIZE = (20, 30, 70, 80), (120, 130, 180, 190), (320, 240)


@pytest.fixture
def photos(tmp_path) -> Path:
    return lay_out(tmp_path / "größe ねじ")


@pytest.fixture
def opened(photos):
    """Backends on one project, one after the other."""
    projects = []

    def open_backend(host: str = "http://127.0.0.1:1") -> Backend:
        for project in projects:
            project.close()
        projects.append(Project(photos / "repmet-page"))
        images = TaskImages(photos, projects[-1].folder / "fetched", host)
        return Backend(projects[-1], Teacher(ColourDetector()), images)

    yield open_backend
    for project in projects:
        project.close()


@pytest.fixture
def backend(opened) -> Backend:
    return opened()


@pytest.fixture
def client(backend) -> TestClient:
    return TestClient(application(backend, TOKEN))


def local(name: str) -> str:
    return f"/data/local-files/?d={quote(name)}"


def post(client, to: str, /, **body):
    return client.post(f"/{TOKEN}/{to}", json=body)


def region(box, name: str = "red", **more) -> dict:
    (made,) = regions([(box, name, 1.0)], read_interface(CONFIG), SIZE)
    return made | {"value": made["value"] | more}


def drawn(client, number: int, *results: dict, name: str = "scene_0000.png", action: str = "ANNOTATION_CREATED", **more):
    annotation = {"id": number, "result": list(results), **more}
    task = {"id": 7, "data": {"photo": local(name)}}
    return post(client, "webhook", action=action, annotation=annotation, task=task, project={"label_config": CONFIG})


def proposals(client, *names: str) -> list[dict]:
    tasks = [{"id": k, "data": {"photo": local(name)}} for k, name in enumerate(names)]
    answer = post(client, "predict", tasks=tasks, project="1.1", label_config=CONFIG, params={})
    assert answer.status_code == 200
    return answer.json()["results"]


def marks(backend) -> list[tuple]:
    content = json.loads((backend.project.folder / "marks.json").read_text(encoding="utf-8"))
    return sorted((row["category_id"], row["state"], *map(round, row["bbox"])) for row in content["annotations"])


def test_it_is_there_and_is_set_up(client):
    assert client.get(f"/{TOKEN}/health").json()["status"] == client.get(f"/{TOKEN}/").json()["status"] == "UP"
    answer = post(client, "setup", project="1.1", schema=CONFIG, hostname="http://localhost:8080", access_token="abc")
    assert answer.status_code == 200
    assert [answer.json()["model_version"]] == client.get(f"/{TOKEN}/versions").json()["versions"]


def test_what_is_drawn_is_found_elsewhere(client, backend):
    (before,) = proposals(client, "scene_0001.png")
    assert before["result"] == []
    assert drawn(client, 3, region(RED_ONE)).status_code == 201
    assert marks(backend) == [(1, "accepted", 20, 30, 50, 50)]
    first, second = proposals(client, "scene_0000.png", "scene_0002.png")
    assert [len(first["result"]), len(second["result"])] == [2, 2] and first["score"] > 0.9
    assert first["model_version"] != before["model_version"]  # Label Studio asks again
    proposed = sorted(boxes(first["result"], SIZE))
    assert proposed[1][1] == "red" and proposed[1][0] == pytest.approx(RED_TWO, abs=0.01)
    assert {r["from_name"] for r in first["result"]} == {"label"} and {r["to_name"] for r in first["result"]} == {"image"}
    assert (backend.project.folder / "classes.repmet").stat().st_size


def test_a_changed_annotation_changes_its_marks_and_a_deleted_one_takes_them_away(client, backend):
    drawn(client, 3, region(RED_ONE), region(RED_TWO))
    drawn(client, 4, region((220, 40, 280, 90), "blau & größer"), name="scene_0002.png")
    version = backend.version
    drawn(client, 3, region((20, 30, 60, 80)), action="ANNOTATION_UPDATED")
    assert marks(backend) == [(1, "accepted", 20, 30, 40, 50), (2, "accepted", 220, 40, 60, 50)]
    assert backend.version != version
    post(client, "webhook", action="ANNOTATIONS_DELETED", annotations=[{"id": 3}, {"id": 99}])
    assert marks(backend) == [(2, "accepted", 220, 40, 60, 50)]
    post(client, "webhook", action="ANNOTATIONS_DELETED", annotations=[{"id": 4}])
    assert marks(backend) == [] and proposals(client, "scene_0000.png")[0]["result"] == []


def test_a_proposal_that_was_taken_away_is_rejected(client, backend):
    drawn(client, 3, region(RED_ONE))
    proposals(client, "scene_0001.png")
    drawn(client, 4, region(RED_ONE), name="scene_0001.png", parent_prediction=11)
    assert [state for _, state, *_ in marks(backend)] == ["accepted", "accepted", "rejected", "rejected"]  # red and pink
    drawn(client, 4, region(RED_ONE), name="scene_0001.png", action="ANNOTATION_UPDATED")  # drawn without looking at them
    assert [state for _, state, *_ in marks(backend)] == ["accepted", "accepted"]


def test_it_goes_on_where_it_was(client, backend, opened):
    drawn(client, 3, region(RED_ONE))
    version = backend.version
    again = opened()
    other = TestClient(application(again, TOKEN))
    assert again.version == version and len(proposals(other, "scene_0000.png")[0]["result"]) == 2
    drawn(other, 3, region(RED_TWO), action="ANNOTATION_UPDATED")
    assert marks(again) == [(1, "accepted", 120, 130, 60, 60)]


def test_only_what_the_interface_draws_is_proposed(client):
    drawn(client, 3, region(RED_ONE), region((220, 40, 280, 90), "blau & größer"))
    less = CONFIG.replace('<Label value="red"/>', "")
    tasks = [{"id": 1, "data": {"photo": local("scene_0000.png")}}]
    (result,) = post(client, "predict", tasks=tasks, label_config=less).json()["results"]
    assert {r["value"]["rectanglelabels"][0] for r in result["result"]} == {"blau & größer"}


def test_turned_rectangles_and_other_shapes():
    (box, name), = boxes([region((100, 100, 140, 120), rotation=90), {"type": "choices", "value": {}}], SIZE)  # fmt: skip
    assert name == "red" and box == pytest.approx((80, 100, 100, 140))
    for result in ("x", None, [{"type": "rectanglelabels", "value": {"x": "a"}}], [{"type": "rectanglelabels", "value": 3}]):
        with pytest.raises(UserError):
            boxes(result, SIZE)
    assert boxes([3], SIZE) == []


@pytest.mark.parametrize(
    "config",
    [
        "", "<View>", None, 3, "<View><Image name='i' value='$i'/></View>",
        "<View><RectangleLabels name='l' toName='i'/></View>", "<View>" + " " * 300_000 + "</View>",
        '<!DOCTYPE a [<!ENTITY b "c">]><View><Image name="i" value="$i"/><RectangleLabels name="&b;" toName="i"/></View>',
    ],
)  # fmt: skip
def test_an_interface_without_boxes_is_refused(client, config):
    answer = post(client, "setup", schema=config)
    assert answer.status_code == 400 and "interface" in answer.json()["error"]


# --- who reaches what ---


@pytest.mark.parametrize(
    "path", ["/health", "/", "/wrong/health", f"/{TOKEN}x/health", f"/{TOKEN[:-1]}/health", "/%ff/health"]
)
def test_without_the_token_nothing_answers(client, path):
    assert client.get(path).status_code == 404
    assert client.post(path.replace("health", "predict"), json={"tasks": []}).status_code in (404, 405)


def test_large_and_strange_bodies_are_refused(client):
    big = b'{"tasks": "' + b"x" * LARGEST_BODY + b'"}'
    assert client.post(f"/{TOKEN}/predict", content=big).status_code == 413
    assert client.post(f"/{TOKEN}/predict", content=iter([big])).status_code == 413  # of unknown length
    for content in (b"no json", b"[]", b"[" * 100_000, b"\x80\x04K\x01."):  # the last is a pickle
        assert client.post(f"/{TOKEN}/webhook", content=content).status_code == 400
    assert client.post(f"/{TOKEN}/delete", json={}).status_code == 404
    assert post(client, "predict", label_config=CONFIG).status_code == 400


@pytest.mark.parametrize(
    "address",
    [
        local("../secret.png"), local("/etc/passwd"), local("sub/../../secret.png"), local("link.png"), local("x\0.png"),
        local(""), local("note.txt"), local("none.png"), "/data/local-files/?d=..%2fsecret.png", "file:///etc/passwd",
        "http://127.0.0.1:9/data/upload/a.png", "http://169.254.169.254/latest/a.png", "/etc/passwd", "s3://bucket/a.png",
        "/data/upload/../../secret.png", "/data/upload/%2e%2e/%2e%2e/a.png", "//evil.example/data/upload/a.png", None, 3, {},
        "/data/upload/a.exe", "x" * 5000, local("\uff0e\uff0e/secret.png"), "http://127.0.0.1:1@evil.example/data/upload/a.png",
    ],
)  # fmt: skip
def test_no_path_leads_out(client, photos, address):
    secret = photos.parent / "secret.png"
    secret.write_bytes((photos / "scene_0000.png").read_bytes())
    (photos / "note.txt").write_text("x")
    os.symlink(secret, photos / "link.png")
    drawn(client, 3, region(RED_ONE))
    (result,) = post(client, "predict", tasks=[{"data": {"photo": address}}], label_config=CONFIG).json()["results"]
    assert result["result"] == []
    body = {"annotation": {"id": 9, "result": [region(RED_ONE)]}, "task": {"data": {"photo": address}}}
    answer = post(client, "webhook", action="ANNOTATION_CREATED", project={"label_config": CONFIG}, **body)
    assert answer.status_code == 400


class Studio(BaseHTTPRequestHandler):
    """What hands out uploads to whoever has the key."""

    asked: list[tuple[str, str]] = []  # noqa: RUF012
    picture = b""

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers.get("Authorization", "")))
        if "elsewhere" in self.path:
            self.send_response(302)
            self.send_header("Location", "/data/upload/a.png")
            self.end_headers()
        elif self.headers.get("Authorization") in ("Token key", "Bearer short"):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self.picture)
        else:
            self.send_error(401)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"access": "short" if body == {"refresh": "a.b.c"} else "none"}).encode())

    def log_message(self, *_: object) -> None:
        pass


def test_uploads_are_fetched_once_from_the_named_host_alone(photos, opened):
    Studio.picture, Studio.asked = (photos / "scene_0000.png").read_bytes(), []
    with HTTPServer(("127.0.0.1", 0), Studio) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        backend = opened(f"http://127.0.0.1:{server.server_port}")
        client = TestClient(application(backend, TOKEN))
        images = backend.images
        with pytest.raises(ConnectionError, match="answers 401; start with --api-key"):
            images.file("/data/upload/1/ä b.png")
        post(client, "setup", schema=CONFIG, access_token="key")
        first = images.file("/data/upload/1/ä b.png")
        assert first == images.file("/data/upload/1/ä b.png") and first.read_bytes() == Studio.picture
        assert len(Studio.asked) == 2 and Studio.asked[-1] == ("/data/upload/1/%C3%A4%20b.png", "Token key")
        assert first.is_relative_to(photos / "repmet-page" / "fetched")
        images.key = "a.b.c"  # a personal access token
        images.file("/data/upload/2/b.png")
        assert Studio.asked[-1][1] == "Bearer short"
        with pytest.raises(ConnectionError, match="answers 302"):
            images.file("/data/upload/elsewhere.png")
        Studio.picture = b"no picture"
        with pytest.raises(UserError, match="cannot be read as an image"):
            images.file("/data/upload/3/c.png")
        server.shutdown()


def test_the_token_is_kept_for_its_owner(tmp_path):
    token = kept_token(tmp_path / "token")
    assert len(token) >= 32 and kept_token(tmp_path / "token") == token
    assert (tmp_path / "token").stat().st_mode & 0o077 == 0
    (tmp_path / "token").write_text("a/b")
    with pytest.raises(UserError, match="holds no token"):
        kept_token(tmp_path / "token")


def test_what_cannot_be_served_is_one_line(tmp_path, capsys):
    assert main([str(tmp_path / "none")]) == 2
    assert "none: no such folder" in capsys.readouterr().err
    assert main([str(tmp_path), "--label-studio", "localhost"]) == 2
    assert "begins with http" in capsys.readouterr().err
