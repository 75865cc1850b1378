"""The outermost layer: what holds for every request, whether its path exists or not.

A request gets an id, its sizes and times are bounded, and every response carries the id and the
headers that tell browsers to keep their hands off.
"""

import asyncio
import secrets
import time
from typing import Any

import structlog
from granian.utils.proxies import wrap_asgi_with_proxy_headers
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from pgtally.http.operation import operation_of
from pgtally.http.passage import Passage, passage_of
from pgtally.http.replies import encode_problem
from pgtally.logs import REQUEST_ID
from pgtally.metrics import DURATION, LIMITED, REQUESTS
from pgtally.problems import Problem
from pgtally.settings import Settings

MAX_QUERY_BYTES = 8_192
# Any other is counted as one: each would be a series of its own, for whoever asks.
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# Counted and logged where a client hangs up before its body has arrived; as nginx counts it.
CLIENT_CLOSED_REQUEST = 499
log = structlog.get_logger()
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}


def address_of(scope: Scope) -> str:
    """The address of the client; behind a trusted proxy, the one that the proxy names."""
    client = scope.get("client")
    return str(client[0]) if client else ""


class Edge:
    """Wraps the application; makes the passage of each request, and ends it."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._seconds = settings.request_timeout_ms / 1000
        self._log = settings.log_requests

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        request_id = secrets.token_hex(8)
        REQUEST_ID.set(request_id)
        added = {"X-Request-Id": request_id}
        begun = ended = reading = arrived = gone = False
        status = 0

        async def send_on(message: Message) -> None:
            nonlocal begun, status
            if message["type"] == "http.response.start":
                begun = True
                status = message["status"]
                if not ended:
                    deadline.reschedule(None)
                elapsed_ms = (time.perf_counter() - started) * 1000
                added["Server-Timing"] = f"total;dur={elapsed_ms:.1f}"
                present = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *(
                        (name.lower().encode(), value.encode())
                        for name, value in {**HEADERS, **added}.items()
                        if name.lower().encode() not in present
                    ),
                ]
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

        try:
            async with asyncio.timeout(self._seconds) as deadline:
                scope["state"] = {"passage": Passage(request_id, added, deadline, self._seconds)}
                if len(scope["query_string"]) > MAX_QUERY_BYTES:
                    raise Problem(414, f"the query is longer than {MAX_QUERY_BYTES:,} bytes")
                await self._app(scope, receive_on, send_on)
        except TimeoutError:
            ended = True
            if begun:
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
            await _send_problem(late, scope, send_on)
        except Problem as problem:
            ended = True
            await _send_problem(problem, scope, send_on)
        finally:
            status = CLIENT_CLOSED_REQUEST if gone else status
            self._tell(scope, status, time.perf_counter() - started)
            for close in passage_of(scope).closing:
                await close()

    def _tell(self, scope: Any, status: int, seconds: float) -> None:
        """Counts the request, and writes its line; never its query, which may name actors."""
        route = scope.get("path_template") or "none"
        method = scope["method"] if scope["method"] in METHODS else "other"
        REQUESTS.labels(method, route, status).inc()
        DURATION.labels(route).observe(seconds)
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


async def _send_problem(problem: Problem, scope: Any, send: Send) -> None:
    body = encode_problem(problem, scope)
    headers = {**operation_of(scope).door.problem_headers, **problem.headers}
    await send(
        {
            "type": "http.response.start",
            "status": problem.status,
            "headers": [(k.lower().encode(), v.encode()) for k, v in headers.items()],
        }
    )
    await send({"type": "http.response.body", "body": body, "more_body": False})


def wrap(app: ASGIApp, settings: Settings) -> ASGIApp:
    """The application with its edge; X-Forwarded-For counts only from a trusted proxy."""
    edge: ASGIApp = Edge(app, settings)
    if settings.trusted_proxies:
        edge = wrap_asgi_with_proxy_headers(edge, list(settings.trusted_proxies))
    return edge
