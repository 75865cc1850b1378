"""GET /installation: tenants with their volumes, jobs, and what the doctor finds."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
from litestar import Response, get

from pgtally.endpoints.health import DETAILS, Check
from pgtally.http.operation import Operation
from pgtally.http.passage import Db, Incoming
from pgtally.page.door import PAGES
from pgtally.page.rendering import page

VOLUMES = """
  select tenant_id, name, time_zone, created_at, event_count, event_count_30d, newest_on
  from api.tenant_volume_list(p_after => %(after)s::text, p_limit => %(limit)s::integer)
"""
JOBS = """
  select job, status, started_at, finished_at, tenant_count, row_count, healed_count, error
  from api.job_list()
"""
SHOWN_TENANTS = 100


class Volume(msgspec.Struct):
    """A tenant, and how much it has."""

    id: UUID
    name: str
    time_zone: str
    created_at: datetime
    events: Decimal
    events_30d: Decimal
    newest_on: date | None


class Job(msgspec.Struct):
    """A job and its last run."""

    name: str
    status: str | None
    started_at: datetime | None
    finished_at: datetime | None
    tenants: int | None
    rows: int | None
    healed: int | None
    error: str | None


@get(
    "/installation",
    operation=Operation(scope="admin", installation=True, rate_class="tenants", door=PAGES),
    include_in_schema=False,
)
async def installation(request: Incoming, db: Db) -> Response[bytes]:
    """The page of whoever runs the installation; `after` is the last name of the page before."""
    after = request.query_params.get("after", "").replace("\0", "")
    arguments = {"after": after, "limit": SHOWN_TENANTS}
    tenants = [Volume(*row) for row in await db.call(VOLUMES, arguments)]
    return page(
        "installation.html",
        tenants=tenants,
        following=tenants[-1].name if len(tenants) == SHOWN_TENANTS else "",
        jobs=[Job(*row) for row in await db.call(JOBS, {})],
        checks=[Check(*row) for row in await db.call(DETAILS, {})],
    )


HANDLERS: list[Any] = [installation]
