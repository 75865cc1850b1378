"""What happens before a handler: the key, the scope, the rate limit."""

from litestar.datastructures import Headers
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send

from service.authentication import Authentication, presented_key
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
            state = scope["state"]
            address = address_of(scope)
            try:
                key = presented_key(Headers.from_scope(scope))
            except Problem:
                self._addresses.spend(address)
                raise
            caller = await self._authentication.find(key, address)
            state["caller"] = caller
            needed = opt.get("scope")
            if needed not in caller.scopes:
                raise Problem(403, f"this key lacks the scope {needed}")
            if opt.get("installation") and caller.tenant_id is not None:
                raise Problem(403, "this endpoint needs an admin key of the installation")
            state["headers"].update(await self._rate_limit.spend(caller, opt["rate"]))
        await next_app(scope, receive, send)
