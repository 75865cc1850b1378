"""What happens to every request before its handler: an id, the key, the scope, the rate limit."""

import secrets
import time

from litestar.datastructures import Headers, MutableScopeHeaders
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from service.keys import Keys
from service.problems import Problem
from service.rate_limit import RateLimit


class Gate(ASGIMiddleware):
    """Lets a request through to its handler if its key may call it now.

    A handler says who may call it: opt `scope` names the scope that the key needs and opt `rate`
    the class that the request counts in; opt `installation` asks for a key without a tenant; opt
    `public` opens it to everyone. A handler that says
    neither is closed.
    """

    scopes = (ScopeType.HTTP, ScopeType.ASGI)

    def __init__(self, keys: Keys, rate_limit: RateLimit) -> None:
        self._keys = keys
        self._rate_limit = rate_limit

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        started = time.perf_counter()
        request_id = secrets.token_hex(8)
        scope["state"]["request_id"] = request_id
        added = {"X-Request-Id": request_id}

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableScopeHeaders.from_message(message)
                for name, value in added.items():
                    headers[name] = value
                elapsed_ms = (time.perf_counter() - started) * 1000
                headers["Server-Timing"] = f"total;dur={elapsed_ms:.1f}"
            await send(message)

        # Error responses are made outside of this middleware, so they find the headers here.
        scope["state"]["headers"] = added
        opt = scope["route_handler"].opt
        if not (opt.get("public") or scope["path"].startswith("/schema")):
            caller = await self._keys.find(Headers.from_scope(scope))
            needed = opt.get("scope")
            if needed not in caller.scopes:
                raise Problem(403, f"this key lacks the scope {needed}")
            if opt.get("installation") and caller.tenant_id is not None:
                raise Problem(403, "this endpoint needs an admin key of the installation")
            added.update(await self._rate_limit.spend(caller, opt["rate"]))
            scope["state"]["caller"] = caller
        await next_app(scope, receive, send_with_headers)
