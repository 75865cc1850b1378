"""What is known of an actor, its erasure, and exports."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID, uuid4

import msgspec
import psycopg
from litestar import Request, Response, delete, get
from litestar.datastructures import State
from litestar.response import Stream
from msgspec import Meta

from service import json
from service.authentication import Caller
from service.database import Database
from service.problems import FieldError, Problem
from service.queries import split_query

PAGE = """
  select event_id, event_type, occurred_at, received_at, actor_id, session_id, value, data
  from api.event_page(
    p_tenant => %(tenant)s::uuid,
    p_from => api.instant(%(tenant)s::uuid, %(from)s::text, %(timezone)s::text, 'from'),
    p_to => api.instant(%(tenant)s::uuid, %(to)s::text, %(timezone)s::text, 'to'),
    p_actor => %(actorId)s::text,
    p_after_at => %(after_at)s::timestamptz,
    p_after_id => %(after_id)s::uuid,
    p_limit => %(limit)s::integer)
"""
ERASE = """
  select
    erasure_id, done, event_count, first_occurred_at, last_occurred_at, day_count, requested_at,
    finished_at
  from api.actor_erase(
    p_tenant => %(tenant)s::uuid,
    p_actor => %(actor)s::text,
    p_erasure => %(erasure)s::uuid,
    p_by => %(by)s::uuid)
"""
NDJSON = "application/x-ndjson"


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


class ActorQuery(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """Which page of an actor's events."""

    limit: Annotated[int, Meta(ge=1, le=10_000)] = 1000
    after: Annotated[str, Meta(max_length=100, description="`next` of the page before.")] = ""


class ExportedEvent(msgspec.Struct, rename="camel"):
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
    """Events, oldest first, and where the next page begins, if there is one."""

    events: list[ExportedEvent]
    next: str | None = None


class Certificate(msgspec.Struct, rename="camel"):
    """What an erasure removed. It is kept, without the actor's identity."""

    erasure_id: UUID
    done: bool
    events: int
    first_occurred_at: datetime | None
    last_occurred_at: datetime | None
    days_recomputed: int
    requested_at: datetime
    finished_at: datetime | None


def _cursor(text: str) -> tuple[datetime | str, UUID]:
    if not text:
        return "-infinity", UUID(int=0)
    try:
        at, _, event_id = text.partition("_")
        return msgspec.convert(at, datetime, strict=False), UUID(event_id)
    except (ValueError, msgspec.ValidationError):
        error = FieldError("is not the `next` of a page", parameter="after")
        raise Problem(400, "the query is not valid", [error]) from None


def _checked(actor_id: str) -> str:
    if "\0" in actor_id or not 1 <= len(actor_id) <= 200:
        raise Problem(400, "an actor id has 1 to 200 characters and no NUL")
    return actor_id


@get(
    "/actors/{actor_id:str}/events",
    opt={"scope": "read", "rate": "analytics", "query": ActorQuery},
    operation_id="listActorEvents",
    summary="What is known of an actor",
    tags=["Actors"],
)
async def actor_events(
    request: Request[Any, Any, State], db: Database, actor_id: str
) -> Response[Page]:
    """The actor's raw events, oldest first, a page at a time."""
    query, _ = split_query(request, ActorQuery)
    caller: Caller = request.scope["state"]["caller"]
    after_at, after_id = _cursor(query.after)
    rows = await db.read(
        caller.tenant,
        PAGE,
        {
            "tenant": caller.tenant,
            "from": "-infinity",
            "to": "infinity",
            "timezone": "",
            "actorId": _checked(actor_id),
            "after_at": after_at,
            "after_id": after_id,
            "limit": query.limit,
        },
    )
    page = Page([ExportedEvent(*row) for row in rows])
    if len(rows) == query.limit:
        page.next = f"{page.events[-1].occurred_at.isoformat()}_{page.events[-1].id}"
    return json.respond(page)


@delete(
    "/actors/{actor_id:str}",
    status_code=200,
    opt={"scope": "admin", "rate": "ingest"},
    operation_id="eraseActor",
    summary="Erase an actor's events",
    tags=["Actors"],
)
async def erase_actor(
    request: Request[Any, Any, State], db: Database, actor_id: str
) -> Response[Certificate]:
    """Removes the events and corrects every summary that they touched.

    Each step of up to 10,000 events is one transaction. If the connection breaks, repeat the
    request: what is erased stays erased. Stop sending events of the actor first.
    """
    caller: Caller = request.scope["state"]["caller"]
    parameters = {
        "tenant": caller.tenant,
        "actor": _checked(actor_id),
        "erasure": uuid4(),
        "by": caller.key_id,
    }
    while True:
        # Each step has the whole time that a request may take.
        request.scope["state"]["extend"]()
        certificate = Certificate(*(await db.call(ERASE, parameters))[0])
        if certificate.done:
            return json.respond(certificate)


@get(
    "/events/export",
    opt={"scope": "read", "rate": "analytics", "query": ExportQuery},
    operation_id="exportEvents",
    summary="Raw events as NDJSON",
    tags=["Events"],
    media_type=NDJSON,
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
    }
    # A wrong argument has to be found before the response begins.
    await db.read(caller.tenant, PAGE, {**parameters, "limit": 1})
    return Stream(_export(db, parameters), media_type=NDJSON)


async def _export(db: Database, parameters: dict[str, Any]) -> AsyncIterator[bytes]:
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
                yield json.lines([ExportedEvent(*row) for row in rows])
            if len(rows) < parameters["limit"]:
                return
            parameters = {**parameters, "after_at": rows[-1][2], "after_id": rows[-1][0]}
