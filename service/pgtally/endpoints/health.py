"""GET /health/live, /health/ready and /health/details."""

import asyncio
import time
from typing import Literal

import msgspec
import psycopg
from litestar import Response, get
from litestar.di import NamedDependency

from pgtally.database import Database
from pgtally.http.operation import OPEN, Operation
from pgtally.http.passage import Db
from pgtally.http.replies import respond
from pgtally.problems import Problem

STATUS = """
  select trouble
  from api.service_status()
"""
DETAILS = """
  select check_name, status, message, remedy
  from api.service_details()
"""
HOLDS_SECONDS = 1.0
# All that anybody may know: no names, no figures, no texts of the database.
Trouble = Literal["jobs failed", "jobs late", "backlog", "locked", "disk full"]


class Live(msgspec.Struct):
    """The process answers."""

    status: str = "ok"


class Ready(msgspec.Struct):
    """Whether requests can be served, and which kinds of trouble an operator should look at."""

    ready: bool
    database: Literal["ok", "not available"]
    trouble: list[Trouble] = []


class Check(msgspec.Struct):
    """What tally.doctor found: ok, late, missing or failed; advice: better so, but it works."""

    name: str
    status: Literal["ok", "late", "missing", "failed", "advice"]
    message: str
    remedy: str | None


class Details(msgspec.Struct):
    """Every check, what is wrong first, with what to run there."""

    checks: list[Check]


class Readiness:
    """Asks the database at most once a second, for however many who want to know."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._answer = Ready(False, "not available")
        self._until = 0.0
        self._asking: asyncio.Task[None] | None = None

    async def ask(self) -> Ready:
        """The answer of the last second; whoever comes while it is asked for waits for it."""
        if time.monotonic() >= self._until:
            if self._asking is None:
                self._asking = asyncio.create_task(self._ask())
            await asyncio.shield(self._asking)
        return self._answer

    async def _ask(self) -> None:
        try:
            trouble: list[Trouble] = list((await self._database.call(STATUS, {}))[0][0])
            if self._database.disk_full:
                trouble.append("disk full")
            self._answer = Ready(True, "ok", trouble)
        except (psycopg.Error, Problem):
            self._answer = Ready(False, "not available")
        finally:
            self._until = time.monotonic() + HOLDS_SECONDS
            self._asking = None


@get("/health/live", operation=OPEN, summary="Liveness")
async def live() -> Response[Live]:
    """200 while the process runs."""
    return respond(Live())


@get(
    "/health/ready",
    operation=Operation(also={503: "The database is not available."}),
    summary="Readiness",
)
async def ready(readiness: NamedDependency[Readiness]) -> Response[Ready]:
    """200 while the database answers, 503 otherwise; as of the last second."""
    answer = await readiness.ask()
    response: Response[Ready] = respond(answer, 200 if answer.ready else 503)
    if not answer.ready:
        response.headers["Retry-After"] = "1"
    return response


@get(
    "/health/details",
    operation=Operation(scope="admin", installation=True, rate_class="tenants"),
    summary="What the doctor finds",
)
async def details(db: Db) -> Response[Details]:
    """The checks of tally.doctor: jobs, locks, backlog, partitions, extensions, roles, policies."""
    return respond(Details([Check(*row) for row in await db.call(DETAILS, {})]))
