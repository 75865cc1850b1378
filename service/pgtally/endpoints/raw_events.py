"""GET /events, a page at a time, and GET /events/export."""

from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Response, get
from litestar.response import Stream
from msgspec import Meta

from pgtally import formats
from pgtally.database import NAMED, Database
from pgtally.http.operation import Operation
from pgtally.http.passage import Db, Incoming, passage_of
from pgtally.http.query_string import EventQuery, RangeQuery, read_cursor, read_query
from pgtally.http.replies import respond_page
from pgtally.logs import REQUEST_ID

LIST = f"""
  select event_id, event_type, occurred_at, received_at, actor_id, session_id, value, data,
    is_full
  from api.event_list(
    p_tenant => %(tenant)s::uuid,
    p_from => %(from)s::text,
    p_to => %(to)s::text,
    p_types => %(types)s::text[],
    p_filters => %(filters)s::jsonb,
    p_actor => %(actor)s::text,
    p_time_zone => %(time_zone)s::text,
    p_before_at => %(before_at)s::timestamptz,
    p_before_id => %(before_id)s::uuid,
    p_limit => %(limit)s::integer)
  {NAMED}
"""
PAGE = f"""
  select event_id, event_type, occurred_at, received_at, actor_id, session_id, value, data,
    is_full
  from api.event_page(
    p_tenant => %(tenant)s::uuid,
    p_from => %(from)s::text,
    p_to => %(to)s::text,
    p_actor => %(actor)s::text,
    p_time_zone => %(time_zone)s::text,
    p_after_at => %(after_at)s::timestamptz,
    p_after_id => %(after_id)s::uuid,
    p_limit => %(limit)s::integer)
  {NAMED}
"""
FIRST: tuple[datetime | str, UUID] = ("-infinity", UUID(int=0))
LAST: tuple[datetime | str, UUID] = ("infinity", UUID(int=2**128 - 1))


class RawEvent(msgspec.Struct, rename="camel"):
    """A raw event."""

    id: UUID
    type: str
    occurred_at: datetime
    received_at: datetime
    actor_id: str | None
    session_id: str | None
    value: Annotated[Any, Meta(extra_json_schema={"type": ["number", "null"]})]
    data: Annotated[Any, Meta(extra_json_schema=formats.ANY_OBJECT)]


class Page(msgspec.Struct, omit_defaults=True):
    """Events, and where the next page begins, if there is one."""

    events: list[RawEvent]
    next: str | None = None


class EventsQuery(EventQuery, forbid_unknown_fields=True, rename="camel"):
    """Which page of which events. `data.<key>=<value>` filters on a property as well."""

    limit: Annotated[int, Meta(ge=1, le=10_000)] = 100
    before: Annotated[str, Meta(max_length=100, description="`next` of the page before.")] = ""


def events_of(rows: list[Any]) -> tuple[list[RawEvent], bool]:
    """The events of a page, and whether another may follow."""
    return [RawEvent(*row[:-1]) for row in rows], bool(rows and rows[-1][-1])


def cursor(event: RawEvent) -> str:
    """What a client sends to get the page that begins at this event."""
    return f"{event.occurred_at.isoformat()}_{event.id}"


@get(
    "/events",
    operation=Operation(scope="read", rate_class="analytics", query=EventsQuery, pages=True),
    summary="Raw events, newest first",
)
async def list_events(request: Incoming, db: Db) -> Response[Page]:
    """A page at a time: `next` of a page is `before` of the next. New events shift nothing."""
    query, arguments = read_query(request, EventsQuery)
    before_at, before_id = read_cursor(query.before, "before", LAST)
    arguments |= {"before_at": before_at, "before_id": before_id}
    rows = await db.read(arguments["tenant"], LIST, arguments)
    return respond_page(request, *events_of(rows), Page, "before", cursor)


@get(
    "/events/export",
    operation=Operation(scope="read", rate_class="analytics", query=RangeQuery),
    summary="Raw events as NDJSON",
    media_type=formats.NDJSON,
)
async def export_events(request: Incoming, db: Db) -> Stream:
    """All raw events of a range, or of one actor, oldest first, as one snapshot sees them."""
    _, arguments = read_query(request, RangeQuery)
    arguments |= {"after_at": FIRST[0], "after_id": FIRST[1], "limit": 1}
    # A wrong argument has to be found before the response begins.
    await db.read(arguments["tenant"], PAGE, arguments)
    arguments |= {"limit": 1000, "request": REQUEST_ID.get()}
    export = _export(db, arguments)
    # Cut off, it would hold its connection until the garbage collector comes by.
    passage_of(request.scope).closing.append(export.aclose)
    return Stream(export, media_type=formats.NDJSON)


async def _export(db: Database, arguments: dict[str, Any]) -> AsyncGenerator[bytes, None]:
    async with (
        db.reader(arguments["tenant"]),
        db.pool.connection() as connection,
        connection.transaction(),
    ):
        await connection.execute("set transaction isolation level repeatable read read only")
        while True:
            cursor = await connection.execute(PAGE, arguments, binary=True)
            rows = await cursor.fetchall()
            if rows:
                yield formats.lines(events_of(rows)[0])
            if not rows or not rows[-1][-1]:
                return
            arguments = {**arguments, "after_at": rows[-1][2], "after_id": rows[-1][0]}
