"""The short way to the handlers that are called most.

Litestar's arguments, dependencies, layers and responses cost more than all else that POST /events
does. A handler that declares `direct` is called without them. It stays in Litestar's routing, which
answers what comes otherwise: with another spelling of its path, or from a page of another origin.
Both ways lead through the same edge and access to the same function.
"""

from functools import partial
from typing import Any

from litestar import Litestar, Request, Response
from litestar.types import Receive, Scope, Send

from pgtally.http.operation import CLOSED
from pgtally.http.replies import handle, send_response


class Direct:
    """Calls one handler behind its access."""

    def __init__(self, app: Litestar, handler: Any, path: str) -> None:
        self._scope = {
            "app": app, "litestar_app": app, "route_handler": handler, "path_template": path,
            "path_params": {},
        }  # fmt: skip
        (self._access,) = handler.resolve_middleware()
        provided = handler.resolve_dependencies()
        names = handler.parsed_fn_signature.parameters.keys() & provided.keys()
        self._call = partial(handler.fn, **{name: provided[name].dependency() for name in names})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope.update(self._scope)  # type: ignore[typeddict-item]
        response: Response[Any] | None = None

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            nonlocal response
            response = await self._call(Request(scope, receive, send))

        try:
            await self._access.handle(scope, receive, send, answer)
        except Exception as error:
            response = handle(Request(scope), error)
        if response is not None:
            await send_response(response, send)


def direct_handlers(app: Litestar) -> dict[tuple[str, str], Direct]:
    """Those of an application, by method and path."""
    return {
        (method, route.path): Direct(app, handler, route.path)
        for route in app.routes
        for handler in getattr(route, "route_handlers", [])
        if handler.opt.get("operation", CLOSED).direct
        for method in handler.http_methods
    }
