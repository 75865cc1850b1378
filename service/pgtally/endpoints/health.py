"""GET /health/live and /health/ready."""

from datetime import datetime
from typing import Any

import msgspec
import psycopg
from litestar import Response, get

from pgtally.http.operation import OPEN, Operation
from pgtally.http.passage import Db
from pgtally.http.replies import respond
from pgtally.problems import Problem

STATUS = """
  select deltas_waiting, last_fold_at, warnings
  from api.service_status()
"""


class Live(msgspec.Struct):
    """The process answers."""

    status: str = "ok"


class Ready(msgspec.Struct, rename="camel"):
    """Whether requests can be served, and what an operator should look at."""

    ready: bool
    database: str
    deltas_waiting: int | None = None
    last_fold_at: datetime | None = None
    warnings: list[str] = []


@get("/health/live", operation=OPEN, summary="Liveness")
async def live() -> Response[Live]:
    """200 while the process runs."""
    return respond(Live())


@get(
    "/health/ready",
    operation=Operation(also={503: "The database is not available."}),
    summary="Readiness",
)
async def ready(db: Db) -> Response[Ready]:
    """200 while the database answers, 503 otherwise. What tally.doctor finds is a warning."""
    try:
        waiting, last_fold_at, warnings = (await db.call(STATUS, {}))[0]
    except (psycopg.Error, Problem):
        response: Response[Any] = respond(Ready(False, "not available"), 503)
        response.headers["Retry-After"] = "1"
        return response
    return respond(Ready(True, "ok", waiting, last_fold_at, warnings))
