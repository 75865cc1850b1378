"""The outermost layer: what holds for every request, whether its path exists or not.

A request gets an id, its sizes and times are bounded, and every response carries the id and the
headers that tell browsers to keep their hands off.
"""

import asyncio
import os
import time
from typing import Any

import structlog
from granian.utils.proxies import wrap_asgi_with_proxy_headers
from litestar import Litestar, Request
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from pgtally.http.deadlines import Deadlines
from pgtally.http.direct import direct_handlers
from pgtally.http.passage import Passage, passage_of
from pgtally.http.replies import handle, send_response
from pgtally.logs import REQUEST_ID
from pgtally.metrics import LIMITED, duration_of, requests_of
from pgtally.problems import Problem
from pgtally.settings import Settings

MAX_QUERY_BYTES = 8_192
# Any other is counted as one: each would be a series of its own, for whoever asks.
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# Counted and logged where a client hangs up before its body has arrived; as nginx counts it.
CLIENT_CLOSED_REQUEST = 499
log = structlog.get_logger()
HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
    b"cache-control": b"no-store",
}


def address_of(scope: Scope) -> str:
    """The address of the client; behind a trusted proxy, the one that the proxy names."""
    client = scope.get("client")
    return str(client[0]) if client else ""


class Edge:
    """Wraps the application; makes the passage of each request, and ends it."""

    def __init__(self, app: Litestar, settings: Settings) -> None:
        self._app = app
        self._direct = direct_handlers(app)
        self._cors = app.cors_config is not None
        self._seconds = settings.request_timeout_ms / 1000
        self._deadlines = Deadlines(self._seconds)
        self._log = settings.log_requests

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        request_id = os.urandom(8).hex()
        REQUEST_ID.set(request_id)
        begun = reading = arrived = gone = False
        status = 0

        async def send_on(message: Message) -> None:
            nonlocal begun, status
            if message["type"] == "http.response.start":
                begun = True
                status = message["status"]
                self._deadlines.stop(task)
                elapsed_ms = (time.perf_counter() - started) * 1000
                added = HEADERS.copy()
                for name, text in passage.headers.items():
                    added[name.encode()] = text.encode()
                added[b"x-request-id"] = request_id.encode()
                added[b"server-timing"] = b"total;dur=%.1f" % elapsed_ms
                for present, _ in message["headers"]:
                    added.pop(present, None)
                message["headers"] = [*message["headers"], *added.items()]
            if not message.get("more_body"):
                await send(message)
                return
            # A client that does not read what it asked for does not hold a connection for ever.
            async with asyncio.timeout(self._seconds):
                await send(message)

        async def receive_on() -> Any:
            nonlocal reading, arrived, gone
            reading = True
            message = await receive()
            reading = False
            if message["type"] == "http.request":
                arrived = not message.get("more_body")
            elif not arrived and not begun:
                gone = True
                raise Problem(400, "the client closed the connection before the end of its body")
            return message

        task = self._deadlines.start()
        try:
            received = {
                name.decode("latin-1"): text.decode("latin-1")
                for name, text in reversed(scope["headers"])
            }
            passage = Passage(request_id, received, self._deadlines)
            scope["state"] = {"passage": passage}
            if len(scope["query_string"]) > MAX_QUERY_BYTES:
                raise Problem(414, f"the query is longer than {MAX_QUERY_BYTES:,} bytes")
            app = self._direct.get((scope["method"], scope["path"]))
            if app is None or (self._cors and "origin" in received):
                await self._app(scope, receive_on, send_on)
            else:
                await app(scope, receive_on, send_on)
        except asyncio.CancelledError:
            if not self._deadlines.passed(task):
                raise
            # Cancelling the handler has cancelled its statement in the database too.
            late = Problem(
                504,
                f"the request took longer than {self._seconds:g} s; it was cancelled",
                # Its commit may have come first.
                code="" if scope["method"] in ("GET", "HEAD") else "outcome_unknown",
            )
            if reading:
                late = Problem(408, f"the body did not arrive within {self._seconds:g} s")
            await send_response(handle(Request(scope), late), send_on)
        except Problem as problem:
            await send_response(handle(Request(scope), problem), send_on)
        finally:
            self._deadlines.stop(task)
            status = CLIENT_CLOSED_REQUEST if gone else status
            self._tell(scope, status, time.perf_counter() - started)
            for close in passage.closing:
                await close()

    def _tell(self, scope: Any, status: int, seconds: float) -> None:
        """Counts the request, and writes its line; never its query, which may name actors."""
        route = scope.get("path_template") or "none"
        method = scope["method"] if scope["method"] in METHODS else "other"
        requests_of(method, route, status).inc()
        duration_of(route).observe(seconds)
        if status == 429:
            LIMITED.labels(route).inc()
        if self._log:
            caller = passage_of(scope).caller
            log.info(
                "request",
                method=scope["method"],
                route=route,
                status=status,
                ms=round(seconds * 1000, 1),
                address=address_of(scope),
                key_id=caller and str(caller.key_id),
                tenant_id=caller and str(caller.tenant_id),
            )


def wrap(app: Litestar, settings: Settings) -> ASGIApp:
    """The application with its edge; X-Forwarded-For counts only from a trusted proxy."""
    edge: ASGIApp = Edge(app, settings)
    if settings.trusted_proxies:
        edge = wrap_asgi_with_proxy_headers(edge, list(settings.trusted_proxies))
    return edge
