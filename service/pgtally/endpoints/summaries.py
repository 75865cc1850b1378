"""GET /summaries: pre-calculated days, weeks and months, and which final ones have moved."""

import hashlib
import re
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated
from urllib.parse import quote
from uuid import UUID

import msgspec
from litestar import Response, get
from msgspec import Meta
from psycopg.types.json import Jsonb

from pgtally.database import NAMED
from pgtally.endpoints import analytics, meters
from pgtally.formats import encode
from pgtally.http.operation import Operation
from pgtally.http.passage import Db, Incoming
from pgtally.http.query_string import read_query
from pgtally.http.replies import respond, respond_list
from pgtally.problems import FieldError, Problem
from pgtally.vocabulary import Measure, PeriodType

SUMMARIES = f"""
  select
    event_type, period_on, period_start, period_end, value, event_count, value_count, value_sum,
    value_min, value_max, unique_actors, final, as_of, revision
  from api.summary_list(
    p_tenant => %(tenant)s::uuid,
    p_period_type => %(period_type)s::text,
    p_from => %(from)s::text,
    p_to => %(to)s::text,
    p_event_type => %(event_type)s::text,
    p_measure => %(measure)s::text,
    p_period_start => %(period_start)s::text)
  {NAMED}
"""
CHANGES = f"""
  select
    event_type, period_type, period_on, period_start, event_count, value_sum, unique_actors, final,
    revision, updated_at
  from api.summary_changes(
    p_tenant => %(tenant)s::uuid, p_since => %(since)s::text, p_limit => %(limit)s::integer)
  {NAMED}
"""


class SummaryQuery(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """One period by `periodStart`, or the periods that begin from `from` until before `to`."""

    period_type: PeriodType = "day"
    event_type: Annotated[
        str, Meta(max_length=200, description="An event type, not a meter; all if absent.")
    ] = msgspec.field(default="", name="metric")
    period_start: Annotated[
        str, Meta(description="A date or an RFC 3339 time within the period.")
    ] = ""
    from_: Annotated[str, Meta(description="A date or an RFC 3339 time.")] = msgspec.field(
        default="", name="from"
    )
    to: Annotated[str, Meta(description="The first date after the range.")] = ""
    measure: Measure = "count"


class ChangesQuery(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """Changes after a moment: `next` of the answer before, or a time."""

    since: Annotated[str, Meta(description="A date or an RFC 3339 time; all if absent.")] = (
        "-infinity"
    )
    limit: Annotated[int, Meta(ge=1, le=10_000)] = 1000


class Change(msgspec.Struct, rename="camel"):
    """A figure that was final and has changed; 0 where all its events are gone."""

    metric: str
    period_type: str
    period_start: date
    starts_at: datetime
    count: int
    sum: Decimal | None
    unique_actors: int
    final: bool
    revision: int
    changed_at: datetime


class Changes(msgspec.Struct):
    """Changes, oldest first, and what to ask with next time."""

    changes: list[Change]
    next: str | None


class Summary(msgspec.Struct, rename="camel"):
    """The figures of one period. A final one was checked against the raw events."""

    metric: str
    period_type: str
    period_start: date
    starts_at: datetime
    ends_at: datetime
    value: Decimal | None
    count: int
    value_count: int
    sum: Decimal | None
    min: Decimal | None
    max: Decimal | None
    unique_actors: int
    final: bool
    as_of: datetime
    revision: int


async def _check_metric(db: Db, tenant: UUID, name: str) -> None:
    """404 for the name of a meter that no event type has: 0 would be wrong for it."""
    everything = {
        "tenant": tenant, "from": "-infinity", "to": "infinity", "types": [name], "actor": "",
        "measure": "count", "filters": Jsonb([]), "time_zone": "", "compare": False,
    }  # fmt: skip
    if (
        await db.read(tenant, meters.LIST, {"tenant": tenant, "name": name})
        and not (await db.read(tenant, analytics.COUNT, everything))[0][0]
    ):
        hint = f"is a meter: ask GET /meters/{quote(name, safe='')}/summaries"
        raise Problem(
            404, "there is no event type of this name", [FieldError(hint, parameter="metric")]
        )


@get(
    "/summaries",
    operation=Operation(
            scope="read", rate_class="summaries", query=SummaryQuery, list=True, revalidated=True,
            direct=True, also={304: "Nothing has changed."}, errors=(404,),
        ),
    summary="Pre-calculated days, weeks and months",
)  # fmt: skip
async def get_summaries(request: Incoming, db: Db) -> Response[Summary | list[Summary]]:
    """One summary for `metric` and `periodStart`, a list otherwise.

    Cache-Control is no-cache: a final figure is reopened by a late event, so ask again, with
    If-None-Match; 304 says that nothing has changed.

    `final` tells a figure that has been checked after its period ended from one that may still
    grow; a final 0 is a 0.

    Of meters, which may be called like an event type, `/meters/{name}/summaries` tells the same.
    404 for the name of a meter that is none of an event type.
    """
    query, arguments = read_query(request, SummaryQuery)
    rows = await db.read(arguments["tenant"], SUMMARIES, arguments)
    if query.event_type and not any(row[5] for row in rows):
        await _check_metric(db, arguments["tenant"], query.event_type)
    found = [Summary(event_type, query.period_type, *rest) for event_type, *rest in rows]
    one = bool(query.period_start and query.event_type)
    # asOf moves with the clock while a figure is open; the figures are what a client has to know.
    figures = [tuple(row[:12]) + tuple(row[13:]) for row in rows]
    tag = f'"{hashlib.sha256(encode((one, figures))).hexdigest()[:32]}"'
    if one:
        response = respond(found[0])
    else:
        response = respond_list(request, found, Summary)
        tag = f'{tag[:-1]}-{str(response.media_type).partition(";")[0][-3:]}"'
    if tag in re.split(r"\s*,\s*", request.headers.get("if-none-match", "").replace("W/", "")):
        response = Response(b"", status_code=304, media_type=response.media_type)
    response.headers.update({"ETag": tag, "Cache-Control": "private, no-cache"})
    return response


@get(
    "/summaries/changes",
    operation=Operation(scope="read", rate_class="summaries", query=ChangesQuery, list=True),
    summary="Which final figures have moved?",
)
async def get_summary_changes(request: Incoming, db: Db) -> Response[Changes]:
    """The days, weeks and months that were final and have changed since. Ask again with `next`.

    A corrected figure is told when it has moved, and again, with `final` and the same revision,
    when it has been checked.
    """
    query, arguments = read_query(request, ChangesQuery)
    changes = [Change(*row) for row in await db.read(arguments["tenant"], CHANGES, arguments)]
    following = changes[-1].changed_at.isoformat() if changes else query.since
    page = Changes(changes, None if following == "-infinity" else following)
    return respond_list(request, changes, Change, page)
