"""The service, and the same service with one thing different, to measure what that thing costs.

    python -m bench.variants NAME

with the variables of `pgtally serve`.
"""

import sys
from typing import Any
from uuid import UUID

from granian.constants import Interfaces
from granian.server import Server
from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.types import ASGIApp
from pgtally import app, settings
from pgtally.database import Database
from pgtally.http import edge
from pgtally.http.operation import Operation
from pgtally.http.passage import caller_of
from pgtally.http.replies import respond
from pgtally.ingest.events import Batch
from pgtally.ingest.group_commit import GroupCommit
from pgtally.ingest.store import INGEST


class OneEach(GroupCommit):
    """Each event in a transaction of its own, in place of GroupCommit."""

    async def store(self, tenant: UUID, event: Batch) -> str | None:
        await self.database.call(INGEST, {**event.arguments(), "tenant": tenant})
        return None


class Nothing(GroupCommit):
    """Decodes and answers, and stores nothing."""

    async def store(self, tenant: UUID, event: Batch) -> str | None:
        return None


def one_each() -> ASGIApp:
    app.GroupCommit = OneEach  # type: ignore[attr-defined]
    return app.from_environment()


def nothing() -> ASGIApp:
    app.GroupCommit = Nothing  # type: ignore[attr-defined]
    return app.from_environment()


@get("/select-1", operation=Operation(scope="read", rate_class="analytics", direct=True))
async def select_1(request: Request[Any, Any, Any], db: NamedDependency[Database]) -> Response[Any]:
    """A question that costs nothing, behind the same access."""
    tenant = caller_of(request).tenant
    return respond({"total": (await db.read(tenant, "select 1", {}))[0][0]})


def with_select_1() -> ASGIApp:
    """The service and a route that asks the database for nothing."""
    config = settings.load()
    application = app.create_app(config)
    application.register(select_1)
    return edge.wrap(application, config)


def as_it_is() -> ASGIApp:
    return app.from_environment()


if __name__ == "__main__":
    config = settings.load()
    Server(
        f"bench.variants:{sys.argv[1]}",
        factory=True,
        interface=Interfaces.ASGI,
        address=config.host,
        port=config.port,
        workers=1,
        log_access=False,
    ).serve()
