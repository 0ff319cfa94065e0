"""Nobody without the token gets a byte of the page, by request or socket."""

import pytest

pytest.importorskip("starlette")
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from repmet.page.guard import LARGEST_BODY, Guard


async def _page(request):
    return PlainTextResponse(f"served {len(await request.body())}")


async def _socket(socket):
    await socket.accept()
    await socket.send_text("in")
    await socket.close()


@pytest.fixture
def guard():
    used = []
    app = Starlette(
        routes=[Route("/", _page), Route("/image/0", _page, methods=["GET", "POST"]), WebSocketRoute("/ws", _socket)]
    )
    guard = Guard(app, 8425, used.append)
    guard.was_used = used
    return guard


@pytest.fixture
def outside(guard):
    return TestClient(guard)


@pytest.fixture
def inside(guard, outside):
    assert outside.get(f"/?token={guard.token}").status_code == 200
    return outside


@pytest.mark.parametrize("path", ["/", "/image/0", "/?token=", "/?token=wrong", "/image/0?token=wrong", "/?token=%ff%00"])
def test_without_the_token_nothing_is_served(outside, guard, path):
    answer = outside.get(path)
    assert answer.status_code == 403 and "served" not in answer.text and not guard.was_used
    assert outside.post(path).status_code == 403
    assert outside.get("/image/0", params={"token": guard.token}).status_code == 403  # the front door alone


def test_the_token_lets_one_browser_in_once(guard, inside):
    first = guard.was_used[0]
    assert guard.token == first and inside.get("/").text == "served 0" and inside.get("/image/0").status_code == 200
    other = TestClient(guard)
    assert other.get("/").status_code == 403
    token = guard.token
    assert other.get(f"/?token={token}").status_code == 200 and guard.token != token
    third = TestClient(guard)
    assert third.get(f"/?token={token}").status_code == 403
    assert inside.get(f"/?token={token}").status_code == 200  # who is in may reload an old address


def test_the_cookie_is_for_this_page_alone(guard, outside):
    cookie = outside.get(f"/?token={guard.token}").headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie and cookie.startswith("repmet_page_8425=")


def test_a_made_up_cookie_is_none(guard, outside):
    for value in ("", "x", '"\\', "a" * 5000):
        assert outside.get("/", headers={"cookie": f"repmet_page_8425={value}"}).status_code == 403
    assert outside.get("/", headers={"cookie": b"=;;\x01=\xff"}).status_code == 403


def test_the_socket_needs_cookie_and_origin(guard, inside):
    origin = {"origin": "http://testserver"}
    with inside.websocket_connect("/ws", headers=origin) as socket:
        assert socket.receive_text() == "in"
    for headers in ({}, {"origin": "http://127.0.0.1:9999"}, {"origin": "https://elsewhere.example"}, {"origin": "null"}):
        with pytest.raises(WebSocketDisconnect), inside.websocket_connect("/ws", headers=headers):
            pass
    stranger = TestClient(guard)
    with pytest.raises(WebSocketDisconnect), stranger.websocket_connect("/ws", headers=origin):
        pass


def test_another_page_cannot_change_anything(inside):
    assert inside.post("/image/0", headers={"origin": "http://testserver"}).status_code == 200
    assert inside.post("/image/0").status_code == 403
    assert inside.post("/image/0", headers={"origin": "http://127.0.0.1:80"}).status_code == 403
    assert inside.get("/image/0", headers={"origin": "http://evil.example"}).status_code == 403


def test_large_bodies_are_refused(inside):
    origin = {"origin": "http://testserver"}
    assert inside.post("/image/0", content=bytes(LARGEST_BODY), headers=origin).status_code == 200
    assert inside.post("/image/0", content=bytes(LARGEST_BODY + 1), headers=origin).status_code == 403
    assert inside.post("/image/0", content=iter([b"x"] * 9), headers=origin).status_code == 403  # of unknown length


def test_the_browser_is_told_to_ask_nobody_else(inside):
    policy = inside.get("/").headers["content-security-policy"]
    assert "default-src 'self'" in policy and "http:" not in policy and "https:" not in policy
    assert inside.get("/").headers["referrer-policy"] == "no-referrer"
