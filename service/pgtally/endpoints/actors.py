"""What is known of an actor, and its erasure."""

from datetime import datetime
from typing import Annotated
from uuid import UUID, uuid4

import msgspec
from litestar import Response, delete, get
from litestar.params import FromPath
from msgspec import Meta

from pgtally.database import NAMED
from pgtally.endpoints.raw_events import FIRST, PAGE, Page, cursor, events_of
from pgtally.http.operation import Operation
from pgtally.http.passage import Db, Incoming, caller_of, passage_of
from pgtally.http.query_string import read_cursor, read_query
from pgtally.http.replies import respond, respond_page
from pgtally.problems import Problem

ERASE = f"""
  select
    erasure_id, done, event_count, first_occurred_at, last_occurred_at, day_count, requested_at,
    finished_at
  from api.actor_erase(
    p_tenant => %(tenant)s::uuid,
    p_actor => %(actor)s::text,
    p_erasure => %(erasure)s::uuid,
    p_by => %(by)s::uuid)
  {NAMED}
"""


class ActorQuery(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """Which page of an actor's events."""

    limit: Annotated[int, Meta(ge=1, le=10_000)] = 1000
    after: Annotated[str, Meta(max_length=100, description="`next` of the page before.")] = ""


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


def _checked(actor_id: str) -> str:
    if "\0" in actor_id or not 1 <= len(actor_id) <= 200:
        raise Problem(400, "an actor id has 1 to 200 characters and no NUL")
    return actor_id


@get(
    "/actors/{actor_id:str}/events",
    operation=Operation(scope="read", rate_class="analytics", query=ActorQuery, pages=True),
    summary="What is known of an actor",
)
async def list_actor_events(request: Incoming, db: Db, actor_id: FromPath[str]) -> Response[Page]:
    """The actor's raw events, oldest first, a page at a time."""
    query, arguments = read_query(request, ActorQuery)
    after_at, after_id = read_cursor(query.after, "after", FIRST)
    arguments |= {
        "from": "-infinity", "to": "infinity", "time_zone": "", "actor": _checked(actor_id),
        "after_at": after_at, "after_id": after_id,
    }  # fmt: skip
    rows = await db.read(arguments["tenant"], PAGE, arguments)
    return respond_page(request, *events_of(rows), Page, "after", cursor)


@delete(
    "/actors/{actor_id:str}",
    status_code=200,
    operation=Operation(scope="admin", rate_class="ingest"),
    summary="Erase an actor's events",
)
async def erase_actor(request: Incoming, db: Db, actor_id: FromPath[str]) -> Response[Certificate]:
    """Removes the events and corrects every summary that they touched.

    Each step of up to 10,000 events is one transaction. If the connection breaks, repeat the
    request: what is erased stays erased. Stop sending events of the actor first.
    """
    caller = caller_of(request)
    arguments = {
        "tenant": caller.tenant, "actor": _checked(actor_id), "erasure": uuid4(),
        "by": caller.key_id,
    }  # fmt: skip
    while True:
        # Each step has the whole time that a request may take.
        passage_of(request.scope).extend()
        certificate = Certificate(*(await db.call(ERASE, arguments))[0])
        if certificate.done:
            return respond(certificate)
