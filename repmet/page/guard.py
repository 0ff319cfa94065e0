"""Who may talk to a page: whoever opened the address with the one-time token, from the page itself, and nobody else.

The token is exchanged for a cookie once; with the cookie every request and the socket are let through. A browser sends the
cookie (`SameSite=Strict`) only from pages of the same site; as another port of this machine is the same site, the
`Origin` of what changes something must be the page's own too. By the policy that is sent, the browser asks no other host.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST_BODY = 1 << 20  # bytes of a request: there is nothing to upload
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' ws: wss:; object-src 'none'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
_REFUSED = """<!doctype html><html lang="en"><meta charset="utf-8"><title>repmet page</title>
<body style="font: 1.1rem/1.5 system-ui; max-width: 36rem; margin: 4rem auto; padding: 0 1rem">
<h1>This page is yours alone</h1><p>Open it by the address that <code>repmet page</code> printed last: each address
works once, in one browser. The terminal shows a new one after every use.</p></body></html>"""

_ENTERED = '<!doctype html><meta charset="utf-8"><title>repmet page</title><meta http-equiv="refresh" content="0; url=/">'


class Guard:
    """ASGI middleware around everything that a page serves.

    Args:
        app: what is guarded.
        port: of the page; cookies of one machine are told apart by it.
        used: is called with the next token each time one was used.
    """

    def __init__(self, app: ASGIApp, port: int, used: Callable[[str], None] = lambda token: None) -> None:
        self.app, self.cookie, self.used = app, f"repmet_page_{port}", used
        self.token = secrets.token_urlsafe(24)
        self._secret = secrets.token_urlsafe(32)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)  # the server's own start and end
            return
        headers = Headers(scope=scope)
        offered = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("token", [""])[0]
        if scope["type"] == "http" and scope["path"] == "/" and offered and _same(offered, self.token):
            self.token = secrets.token_urlsafe(24)
            self.used(self.token)
            entered = HTMLResponse(
                _ENTERED
            )  # a redirect would count as asked for by the page that the address was clicked in
            entered.set_cookie(self.cookie, self._secret, httponly=True, samesite="strict", path="/")
            await entered(scope, receive, _with_policy(send))
            return
        if not self._knows(headers) or not _from_the_page(scope, headers) or _length(headers) > LARGEST_BODY:
            await _refuse(scope, receive, send)
            return
        if scope["type"] == "http" and scope["path"] == "/" and offered:  # an address from before, in a browser that is in
            await RedirectResponse("/", status_code=303)(scope, receive, _with_policy(send))
            return
        try:
            await self.app(scope, receive, _with_policy(send) if scope["type"] == "http" else send)
        except RuntimeError as error:
            if str(error) != "No response returned.":  # starlette's, of a browser that left while it was served
                raise

    def _knows(self, headers: Headers) -> bool:
        cookies: SimpleCookie = SimpleCookie()
        try:
            cookies.load(headers.get("cookie", ""))
        except CookieError:
            return False
        return self.cookie in cookies and _same(cookies[self.cookie].value, self._secret)


def _same(offered: str, kept: str) -> bool:
    return hmac.compare_digest(offered.encode("utf-8", "replace"), kept.encode())


def _from_the_page(scope: Scope, headers: Headers) -> bool:
    """Whether what changes something, and the socket, comes from a page of this very address."""
    origin = headers.get("origin")
    if origin is None:
        return scope["type"] == "http" and scope["method"] in ("GET", "HEAD")
    return urlsplit(origin).netloc == headers.get("host", "")


def _length(headers: Headers) -> int:
    """Of a request's body, as it says; of one that does not say, more than is read."""
    length = headers.get("content-length", "0" if "transfer-encoding" not in headers else "")
    return int(length) if length.isdecimal() and len(length) < 16 else LARGEST_BODY + 1


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 4403})
    else:
        await HTMLResponse(_REFUSED, status_code=403)(scope, receive, _with_policy(send))


def _with_policy(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["Content-Security-Policy"] = POLICY
            headers["Referrer-Policy"] = "no-referrer"
            headers["X-Content-Type-Options"] = "nosniff"
        await send(message)

    return sending
