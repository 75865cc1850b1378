"""What happens before a handler: the key, the scope, the rate limit."""

from collections.abc import Callable
from functools import partial
from typing import Any

from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, HTTPReceiveMessage, Receive, Scope, Send

from pgtally.http.authentication import Authentication
from pgtally.http.body import GZIP, receive_all
from pgtally.http.edge import address_of
from pgtally.http.operation import CLOSED, Operation, operation_of, unauthorized
from pgtally.http.passage import Caller, passage_of
from pgtally.http.rate_limit import AddressLimit, AtOnce, Held, RateLimit
from pgtally.problems import Problem
from pgtally.threads import off_loop


class Access(ASGIMiddleware):
    """Lets a request through to its handler if its key may call it now, before its body is read:
    see Operation."""

    scopes = (ScopeType.HTTP, ScopeType.ASGI)

    def __init__(
        self,
        authentication: Authentication,
        addresses: AddressLimit,
        rate_limit: RateLimit,
        at_once: AtOnce,
        held: Held,
    ) -> None:
        self._authentication = authentication
        self._addresses = addresses
        self._rate_limit = rate_limit
        self._at_once = at_once
        self._held = held

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        operation = operation_of(scope)
        headers = passage_of(scope).received
        if "access-control-request-method" in headers and _is_for_pages(scope):
            await _allow(send)
            return
        if not operation.public:
            try:
                caller, receive = await self._enter(scope, receive, operation)
            except Problem as problem:
                raise operation.door.refusal(problem, scope) from None
            if scope.get("method") == "OPTIONS":
                # Litestar's own answer leaves out the methods of a path's later handlers.
                await _send_empty(send, {"Allow": ", ".join(sorted(_route_of(scope).methods))})
                return
            if operation.rate_class == "bulk":
                with self._at_once.one(caller.tenant_id):
                    await next_app(scope, receive, send)
                return
        await next_app(scope, receive, send)

    async def _enter(
        self, scope: Scope, receive: Receive, operation: Operation
    ) -> tuple[Caller, Receive]:
        """The caller, and what gives the body to the handler. Raises Problem."""
        door = operation.door
        headers = passage_of(scope).received
        try:
            key = door.key_of(scope, headers)
            if not key and door.max_keyless_bytes:
                self._addresses.check(address_of(scope))
                with self._held.by(address_of(scope)) as hold:
                    body, receive = await _read_small(receive, door.max_keyless_bytes, hold)
                    if body[:2] == GZIP:
                        hold(door.max_keyless_bytes)
                    key = await off_loop(len(body), door.key_of_body, body)
            if not key:
                raise unauthorized("no API key: send it as X-API-Key, or as Authorization: Bearer")
        except Problem:
            self._addresses.spend(address_of(scope))
            raise
        caller = await self._admit(scope, operation, key, headers.get("origin", ""))
        return caller, receive

    async def _admit(self, scope: Scope, operation: Operation, key: str, origin: str) -> Caller:
        """Finds the caller, checks the scope and counts the request. Raises Problem."""
        passage = passage_of(scope)
        caller = await self._authentication.find(key, address_of(scope), operation.door.kind)
        passage.caller, passage.key = caller, key
        if caller.tenant_deleted:
            raise Problem(410, "the tenant was deleted")
        if operation.scope not in caller.scopes:
            text = f"this key lacks the scope {operation.scope}"
            if caller.tenant_id is None:
                text += "; it is a key of the installation: use one of a tenant"
            raise Problem(403, text)
        if operation.installation and caller.tenant_id is not None:
            raise Problem(403, "this endpoint needs a key of the installation")
        if caller.origins:
            if not operation.door.takes_public_keys:
                raise Problem(403, "a key that is bound to origins is not for this endpoint")
            if origin not in caller.origins:
                raise Problem(403, "this key is bound to other origins")
            passage.headers |= {"access-control-allow-origin": origin, "vary": "Origin"}
        passage.spend = partial(self._rate_limit.spend, caller)
        if operation.rate_class is not None:
            passage.headers.update(await self._rate_limit.spend(caller, operation.rate_class))
        return caller


def _route_of(scope: Any) -> Any:
    return next(
        route
        for route in scope["litestar_app"].routes
        if getattr(route, "path_format", "") == scope["path_template"]
    )


def _is_for_pages(scope: Any) -> bool:
    """Is this a preflight for a door that pages may use? It has a handler that Litestar made."""
    return scope["method"] == "OPTIONS" and any(
        handler.opt.get("operation", CLOSED).door.takes_public_keys
        for handler in getattr(_route_of(scope), "route_handlers", ())
    )


async def _allow(send: Send) -> None:
    """Tells browsers that a page may send a POST. Whose key that carries is not known yet: what
    the page may read of the answer, if anything, is said with it."""
    headers = {
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Allow-Methods": "POST",
        "Access-Control-Allow-Headers": "Authorization, Content-Encoding, Content-Type, X-API-Key",
        "Access-Control-Max-Age": "86400",
    }
    await _send_empty(send, headers)


async def _send_empty(send: Send, headers: dict[str, str]) -> None:
    encoded = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": 204, "headers": encoded})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _read_small(
    receive: Receive, max_bytes: int, hold: Callable[[int], None]
) -> tuple[bytes, Receive]:
    """The body, and what gives it to the handler once more; tells what it holds. Raises Problem."""
    refusal = f"a body of more than {max_bytes:,} bytes needs its key in a header"
    body = await receive_all(receive, max_bytes, refusal, hold)
    given = False

    async def receive_again() -> HTTPReceiveMessage:
        nonlocal given
        if given:
            return await receive()  # type: ignore[return-value]
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return body, receive_again
