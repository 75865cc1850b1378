"""What is known of an actor, and its erasure."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID, uuid4

import msgspec
from litestar import Request, Response, delete, get
from litestar.datastructures import State
from msgspec import Meta

from service import json
from service.authentication import Caller
from service.database import Database
from service.problems import Problem
from service.queries import split_query
from service.raw_events import PAGE, Page, RawEvent, next_link, read_cursor, write_cursor

ERASE = """
  select
    erasure_id, done, event_count, first_occurred_at, last_occurred_at, day_count, requested_at,
    finished_at
  from api.actor_erase(
    p_tenant => api.for_request(%(tenant)s::uuid, %(request)s::text),
    p_actor => %(actor)s::text,
    p_erasure => %(erasure)s::uuid,
    p_by => %(by)s::uuid)
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
    opt={"scope": "read", "rate": "analytics", "query": ActorQuery, "pages": True},
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
    after_at, after_id = read_cursor(query.after, "after", ("-infinity", UUID(int=0)))
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
    page = Page([RawEvent(*row) for row in rows])
    if len(rows) == query.limit:
        page.next = write_cursor(page.events[-1])
    return next_link(
        request, json.respond_list(request, page.events, RawEvent, page), "after", page.next
    )


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
