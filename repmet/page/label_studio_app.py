"""Label Studio's protocol of ML backends over HTTP: `/health`, `/setup`, `/predict`, `/webhook`, below a token.

    http://HOST:PORT/TOKEN/health

Without the token in the path nothing answers. Bodies are JSON of at most `LARGEST_BODY` bytes, and nothing else is read.
"""

from __future__ import annotations

import hmac
import json
import logging
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from repmet.errors import UserError, one_line
from repmet.page.backend import Backend
from repmet.page.label_studio import read_interface

LARGEST_BODY = 16 << 20  # bytes
DRAWN = ("ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_CREATED")
say = logging.getLogger(__name__)


def application(backend: Backend, token: str) -> FastAPI:
    """The protocol in front of a backend."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)

    def admitted(offered: str) -> None:
        if not hmac.compare_digest(offered.encode("utf-8", "replace"), token.encode()):
            raise HTTPException(404)

    @app.get("/{key}/")
    @app.get("/{key}/health")
    def health(key: str) -> dict[str, str]:
        admitted(key)
        return {"status": "UP", "model_class": "repmet"}

    @app.get("/{key}/versions")
    def versions(key: str) -> dict[str, Any]:
        admitted(key)
        return {"versions": [backend.version]}

    @app.post("/{key}/{action}")
    async def act(key: str, action: str, request: Request) -> Response:
        admitted(key)
        if action not in ACTIONS:
            raise HTTPException(404)
        try:
            answer = await run_in_threadpool(ACTIONS[action], backend, await body_of(request))
        except (UserError, OSError) as error:
            say.info("%s: %s", action, one_line(error))
            return JSONResponse({"error": one_line(error)}, 400)
        return JSONResponse(answer, 201 if action == "webhook" else 200)

    return app


async def body_of(request: Request) -> dict[str, Any]:
    """The JSON of a request. Raises ValueError, or HTTPException where it is too large, before all of it is read."""
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > LARGEST_BODY:
        raise HTTPException(413)
    content = b""
    async for part in request.stream():
        content += part
        if len(content) > LARGEST_BODY:
            raise HTTPException(413)
    try:
        body = json.loads(content or b"{}")
    except (ValueError, RecursionError):
        raise UserError("the request is no JSON") from None
    if not isinstance(body, dict):
        raise UserError("the request is no JSON object")
    return body


def setup(backend: Backend, body: dict[str, Any]) -> dict[str, Any]:
    """Label Studio connects a project; its key, which is sent to that host alone, is taken where none was named."""
    interface = read_interface(body.get("schema"))
    key = body.get("access_token")
    if backend.images.key is None and isinstance(key, str) and key.isprintable() and len(key) < 1000:
        backend.images.key = key
    say.info("connected: project %s draws %s", str(body.get("project"))[:40], ", ".join(interface.labels)[:200])
    return {"model_version": backend.version}


def predict(backend: Backend, body: dict[str, Any]) -> dict[str, Any]:
    """Proposals for tasks; an image that cannot be had has none, and the log says why."""
    interface = read_interface(body.get("label_config"))
    tasks = body.get("tasks")
    if not isinstance(tasks, list):
        raise UserError("a request for predictions has a list of tasks")
    results: list[dict[str, Any]] = []
    for task in tasks:
        try:
            results.append(backend.predict(_address(task, interface.key), interface))
        except (UserError, OSError) as error:
            say.info("no proposals: %s", one_line(error))
            results.append({"result": [], "score": 0.0, "model_version": backend.version})
    return {"results": results, "model_version": backend.version}


def webhook(backend: Backend, body: dict[str, Any]) -> dict[str, Any]:
    """Something happened in Label Studio; annotations teach, all else is passed over."""
    action = body.get("action")
    if action in DRAWN:
        interface = read_interface((body.get("project") or {}).get("label_config"))
        annotations, tasks = _listed(body.get("annotation")), _listed(body.get("task"))
        for annotation, task in zip(annotations, tasks, strict=False):
            if isinstance(annotation, dict) and not annotation.get("was_cancelled"):
                number = backend.annotate(annotation, _address(task, interface.key))
                say.info("learnt: %d boxes of annotation %s", number, annotation.get("id"))
    elif action == "ANNOTATIONS_DELETED":
        backend.forget([row.get("id") for row in _listed(body.get("annotations")) if isinstance(row, dict)])
    return {"status": "ok", "model_version": backend.version}


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _address(task: object, key: str) -> object:
    data = task.get("data") if isinstance(task, dict) else None
    return data.get(key) if isinstance(data, dict) else None


ACTIONS: dict[str, Callable[[Backend, dict[str, Any]], dict[str, Any]]] = {
    "setup": setup,
    "predict": predict,
    "webhook": webhook,
}
