"""What happens before a handler: the key, the scope, the rate limit."""

from litestar.datastructures import Headers
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send

from service.authentication import Authentication, Caller, presented_key, unauthorized
from service.edge import address_of
from service.problems import Problem
from service.rate_limit import AddressLimit, RateLimit


class Gate(ASGIMiddleware):
    """Lets a request through to its handler if its key may call it now, before its body is read.

    A handler says who may call it: opt `scope` names the scope that the key needs and opt `rate`
    the class that the request counts in; opt `installation` asks for a key without a tenant; opt
    `public` opens it to everyone. A handler that says neither is closed.
    """

    scopes = (ScopeType.HTTP, ScopeType.ASGI)

    def __init__(
        self, authentication: Authentication, addresses: AddressLimit, rate_limit: RateLimit
    ) -> None:
        self._authentication = authentication
        self._addresses = addresses
        self._rate_limit = rate_limit

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        opt = scope["route_handler"].opt
        if not (opt.get("public") or scope["path"].startswith("/schema")):
            key = ""
            try:
                key = presented_key(Headers.from_scope(scope), with_basic=bool(opt.get("segment")))
            except Problem:
                self._addresses.spend(address_of(scope))
                raise
            # A Segment client may send its key in the body: its handler then calls admit.
            if key or not opt.get("segment"):
                await self.admit(scope, key)
        await next_app(scope, receive, send)

    async def admit(self, scope: Scope, key: str) -> Caller:
        """Finds the caller, checks the scope and counts the request. Raises Problem."""
        opt = scope["route_handler"].opt
        state = scope["state"]
        if not key:
            self._addresses.spend(address_of(scope))
            raise unauthorized("no API key: send it as X-API-Key, or as Authorization: Bearer")
        caller = await self._authentication.find(key, address_of(scope))
        state["caller"], state["key"] = caller, key
        needed = opt.get("scope")
        if needed not in caller.scopes:
            raise Problem(403, f"this key lacks the scope {needed}")
        if opt.get("installation") and caller.tenant_id is not None:
            raise Problem(403, "this endpoint needs an admin key of the installation")
        state["headers"].update(await self._rate_limit.spend(caller, opt["rate"]))
        return caller
