"""GET /events, a page at a time, and GET /events/export."""

from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlencode
from uuid import UUID

import msgspec
import psycopg
from litestar import Request, Response, get
from litestar.datastructures import State
from litestar.response import Stream
from msgspec import Meta
from psycopg.types.json import Jsonb

from service import json
from service.authentication import Caller
from service.database import Database
from service.logs import REQUEST_ID
from service.problems import FieldError, Problem
from service.queries import Text, split_query

LIST = """
  select event_id, event_type, occurred_at, received_at, actor_id, session_id, value, data
  from api.event_list(
    p_tenant => api.for_request(%(tenant)s::uuid, %(request)s::text),
    p_from => api.instant(%(tenant)s::uuid, %(from)s::text, %(timezone)s::text, 'from'),
    p_to => api.instant(%(tenant)s::uuid, %(to)s::text, %(timezone)s::text, 'to'),
    p_types => %(type)s::text[],
    p_filters => %(filters)s::jsonb,
    p_actor => %(actorId)s::text,
    p_before_at => %(before_at)s::timestamptz,
    p_before_id => %(before_id)s::uuid,
    p_limit => %(limit)s::integer)
"""
PAGE = """
  select event_id, event_type, occurred_at, received_at, actor_id, session_id, value, data
  from api.event_page(
    p_tenant => api.for_request(%(tenant)s::uuid, %(request)s::text),
    p_from => api.instant(%(tenant)s::uuid, %(from)s::text, %(timezone)s::text, 'from'),
    p_to => api.instant(%(tenant)s::uuid, %(to)s::text, %(timezone)s::text, 'to'),
    p_actor => %(actorId)s::text,
    p_after_at => %(after_at)s::timestamptz,
    p_after_id => %(after_id)s::uuid,
    p_limit => %(limit)s::integer)
"""


class ExportQuery(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """Which events to export."""

    from_: Annotated[str, Meta(description="A date or an RFC 3339 time; open if absent.")] = (
        msgspec.field(default="-infinity", name="from")
    )
    to: Annotated[str, Meta(description="The first moment after the range; open if absent.")] = (
        "infinity"
    )
    actor_id: Annotated[str, Meta(max_length=200, description="Only this actor's events.")] = ""
    timezone: Annotated[str, Meta(description="IANA name; the tenant's own if absent.")] = ""


class RawEvent(msgspec.Struct, rename="camel"):
    """A raw event."""

    id: UUID
    type: str
    occurred_at: datetime
    received_at: datetime
    actor_id: str | None
    session_id: str | None
    value: Any
    data: Any


class Page(msgspec.Struct, omit_defaults=True):
    """Events, and where the next page begins, if there is one."""

    events: list[RawEvent]
    next: str | None = None


class EventsQuery(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """Which page of which events. `data.<key>=<value>` filters on a property as well."""

    from_: Annotated[str, Meta(description="A date or an RFC 3339 time; open if absent.")] = (
        msgspec.field(default="-infinity", name="from")
    )
    to: Annotated[str, Meta(description="The first moment after the range; open if absent.")] = (
        "infinity"
    )
    type: Annotated[list[Text], Meta(max_length=100, description="Only these types.")] = []
    actor_id: Annotated[str, Meta(max_length=200, description="Only this actor's events.")] = ""
    timezone: Annotated[str, Meta(description="IANA name; the tenant's own if absent.")] = ""
    limit: Annotated[int, Meta(ge=1, le=10_000)] = 100
    before: Annotated[str, Meta(max_length=100, description="`next` of the page before.")] = ""


def read_cursor(
    text: str, parameter: str, first: tuple[datetime | str, UUID]
) -> tuple[datetime | str, UUID]:
    """Where a page begins. Raises Problem 400 for what no page has given."""
    if not text:
        return first
    try:
        at, _, event_id = text.partition("_")
        return msgspec.convert(at.replace(" ", "+"), datetime, strict=False), UUID(event_id)
    except (ValueError, msgspec.ValidationError):
        error = FieldError("is not the `next` of a page", parameter=parameter)
        raise Problem(400, "the query is not valid", [error]) from None


def write_cursor(event: RawEvent) -> str:
    """What a client sends to get the page after this event."""
    return f"{event.occurred_at.isoformat()}_{event.id}"


def next_link(
    request: Request[Any, Any, State], response: Response[Any], parameter: str, cursor: str | None
) -> Response[Any]:
    """Tells the address of the next page in a header too: CSV and NDJSON have no other place."""
    if cursor is not None:
        kept = [(k, v) for k, v in request.query_params.multi_items() if k != parameter]
        query = urlencode([*kept, (parameter, cursor)])
        response.headers["Link"] = f'<{request.url.path}?{query}>; rel="next"'
    return response


@get(
    "/events",
    opt={"scope": "read", "rate": "analytics", "query": EventsQuery, "pages": True},
    operation_id="listEvents",
    summary="Raw events, newest first",
    tags=["Events"],
)
async def list_events(request: Request[Any, Any, State], db: Database) -> Response[Page]:
    """A page at a time: `next` of a page is `before` of the next. New events shift nothing."""
    query, filters = split_query(request, EventsQuery)
    caller: Caller = request.scope["state"]["caller"]
    before_at, before_id = read_cursor(query.before, "before", ("infinity", UUID(int=2**128 - 1)))
    rows = await db.read(
        caller.tenant,
        LIST,
        {
            "tenant": caller.tenant,
            "from": query.from_,
            "to": query.to,
            "timezone": query.timezone,
            "type": query.type,
            "filters": Jsonb(filters),
            "actorId": query.actor_id,
            "before_at": before_at,
            "before_id": before_id,
            "limit": query.limit,
        },
    )
    page = Page([RawEvent(*row) for row in rows])
    if len(rows) == query.limit:
        page.next = write_cursor(page.events[-1])
    return next_link(
        request, json.respond_list(request, page.events, RawEvent, page), "before", page.next
    )


@get(
    "/events/export",
    opt={"scope": "read", "rate": "analytics", "query": ExportQuery},
    operation_id="exportEvents",
    summary="Raw events as NDJSON",
    tags=["Events"],
    media_type=json.NDJSON,
)
async def export_events(request: Request[Any, Any, State], db: Database) -> Stream:
    """All raw events of a range, or of one actor, oldest first, as one snapshot sees them."""
    query, _ = split_query(request, ExportQuery)
    caller: Caller = request.scope["state"]["caller"]
    parameters: dict[str, Any] = {
        "tenant": caller.tenant,
        "from": query.from_,
        "to": query.to,
        "timezone": query.timezone,
        "actorId": query.actor_id,
        "after_at": "-infinity",
        "after_id": UUID(int=0),
        "limit": 1000,
        "request": REQUEST_ID.get(),
    }
    # A wrong argument has to be found before the response begins.
    await db.read(caller.tenant, PAGE, {**parameters, "limit": 1})
    export = _export(db, parameters)
    # Cut off, it would hold its connection until the garbage collector comes by.
    request.scope["state"]["closing"].append(export.aclose)
    return Stream(export, media_type=json.NDJSON)


async def _export(db: Database, parameters: dict[str, Any]) -> AsyncGenerator[bytes, None]:
    async with (
        db.reader(parameters["tenant"]),
        db.pool.connection() as connection,
        connection.transaction(),
    ):
        await connection.execute("set transaction isolation level repeatable read read only")
        while True:
            cursor: psycopg.AsyncCursor[Any] = await connection.execute(
                PAGE, parameters, binary=True
            )
            rows = await cursor.fetchall()
            if rows:
                yield json.lines([RawEvent(*row) for row in rows])
            if len(rows) < parameters["limit"]:
                return
            parameters = {**parameters, "after_at": rows[-1][2], "after_id": rows[-1][0]}
