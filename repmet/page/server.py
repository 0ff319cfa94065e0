"""The page's server: on one port of this machine, behind the guard; images by number."""

from __future__ import annotations

import os
import socket
import sys
import threading
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import uvicorn
from fastapi import FastAPI, Response

from repmet.errors import UserError, one_line
from repmet.page.gallery import Gallery
from repmet.page.guard import LARGEST_BODY, Guard
from repmet.page.session import Session
from repmet.page.whole_session import WholeSession

PORT = 8425  # the first that is tried
TRIED = 20


def bound(host: str, port: int | None) -> socket.socket:
    """A socket on a port, or where none is named on the first free one from `PORT`.

    Raises:
        OSError: the port is taken, or the host is none of this machine's.
    """
    last: OSError | None = None
    for number in [port] if port is not None else [*range(PORT, PORT + TRIED), 0]:
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        if sys.platform != "win32":  # there it would share the port with another program
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, number))
            return sock
        except OSError as error:
            sock.close()
            last = error
    reason = last.strerror if last is not None and last.strerror else last
    raise UserError(f"port {port} of {host} cannot be used ({reason}); name another by --port") from None


class Served(Protocol):
    """What a page is served of, see `Session` and `whole_session.WholeSession`."""

    gallery: Gallery

    @property
    def project(self) -> Any: ...
    def start(self) -> None: ...


Layout = Callable[[FastAPI, Any], Callable[[], None]]  # adds routes of its own, returns what lays a page out


def boxes_layout(app: FastAPI, session: Session) -> Callable[[], None]:
    """The page of boxes on images."""
    from repmet.page.screen import Screen

    @app.get("/crop/{mark}")
    def crop(mark: int) -> Response:
        try:
            shown = session.state.mark(mark)
        except UserError as error:
            return Response(str(error), 404, media_type="text/plain")
        return _picture(session, session.numbers.get(shown.image, -1), lambda n: session.gallery.crop(n, shown.box))

    return lambda: Screen(session).build()


def whole_layout(app: FastAPI, session: WholeSession) -> Callable[[], None]:
    """The wall of whole images."""
    from repmet.page.whole_screen import WholeScreen

    return lambda: WholeScreen(session).build()


def application(session: Served, port: int, used: Callable[[str], None], layout: Layout) -> tuple[FastAPI, Guard]:
    """The page, and the guard that everything of it stands behind."""
    os.environ.setdefault("NICEGUI_STORAGE_PATH", str(session.project.folder / ".page"))  # else the working folder
    from nicegui import ui

    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)

    @app.get("/image/{number}")
    def image(number: int) -> Response:
        return _picture(session, number, session.gallery.shown)

    @app.get("/thumbnail/{number}")
    def thumbnail(number: int) -> Response:
        return _picture(session, number, session.gallery.thumbnail)

    ui.run_with(
        app,
        root=layout(app, session),
        title=f"{session.project.folder.parent.name or 'repmet'} · repmet page",
        favicon=Path(__file__).with_name("icon.svg"),
        dark=None,
        tailwind=False,
        reconnect_timeout=10,
        show_welcome_message=False,
    )
    guard = Guard(app, port, used)
    return app, guard


def _picture(session: Served, number: int, encoded: Callable[[int], bytes]) -> Response:
    if not 0 <= number < len(session.gallery):
        return Response("no such image", 404, media_type="text/plain")
    try:
        content = encoded(number)
    except (UserError, OSError) as error:
        return Response(one_line(error), 415, media_type="text/plain")
    return Response(content, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=3600"})


def serve(session: Served, sock: socket.socket, *, host: str, browser: bool, layout: Layout = boxes_layout) -> None:
    """Serves until the process is interrupted."""
    port = sock.getsockname()[1]

    def address(token: str) -> str:
        name = socket.gethostname() if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
        return f"http://{name}:{port}/?token={token}"

    def used(token: str) -> None:
        print(f"opened; for another browser: {address(token)}", flush=True)

    _, guard = application(session, port, used, layout)
    config = uvicorn.Config(
        guard, log_level="warning", ws_max_size=LARGEST_BODY, lifespan="on", proxy_headers=False, server_header=False
    )
    sock.listen(128)  # who is quicker than the server waits for it
    print(f"the page is at {address(guard.token)}", flush=True)
    if browser:
        threading.Timer(0.5, webbrowser.open, [address(guard.token)]).start()
    session.start()
    uvicorn.Server(config).run(sockets=[sock])
