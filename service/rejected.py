"""Events that could not be stored and were kept: listed, and tried again."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, get, post
from litestar.datastructures import State
from msgspec import Meta

from service import json
from service.authentication import Caller
from service.database import Database
from service.decoding import read_struct
from service.problems import FieldError
from service.queries import split_query
from service.raw_events import next_link

LIST = """
  select rejected_id, rejected_at, source, errors, event, replayable
  from api.rejected_list(
    p_tenant => api.for_request(%(tenant)s::uuid, %(request)s::text),
    p_before => %(before)s::bigint,
    p_limit => %(limit)s::integer)
"""
REPLAY = """
  select accepted, duplicates, rejected
  from api.rejected_replay(
    p_tenant => api.for_request(%(tenant)s::uuid, %(request)s::text),
    p_rejected_ids => %(ids)s::bigint[])
"""
Id = Annotated[int, Meta(ge=1, le=2**63 - 1)]


class RejectedQuery(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """Which page, newest first."""

    before: Annotated[Id, Meta(description="`next` of the page before.")] = 2**63 - 1
    limit: Annotated[int, Meta(ge=1, le=10_000)] = 100


class RejectedEvent(msgspec.Struct, rename="camel"):
    """An event that was left out, as it came, and why."""

    id: int
    rejected_at: datetime
    source: str
    errors: list[FieldError]
    event: str
    replayable: bool


class RejectedPage(msgspec.Struct, omit_defaults=True):
    """Rejected events, and where the next page begins, if there is one."""

    events: list[RejectedEvent]
    next: int | None = None


class Replay(msgspec.Struct, forbid_unknown_fields=True):
    """Which rejected events to try again."""

    ids: Annotated[list[Id], Meta(max_length=10_000, description="All, if absent or empty.")] = []


class Replayed(msgspec.Struct):
    """What became of them: those still rejected stay, with today's errors."""

    accepted: int
    duplicates: int
    rejected: int


_replay = msgspec.json.Decoder(Replay)


@get(
    "/events/rejected",
    opt={"scope": "read", "rate": "analytics", "query": RejectedQuery, "pages": True},
    operation_id="listRejectedEvents",
    summary="Events that could not be stored",
    tags=["Events"],
)
async def list_rejected(request: Request[Any, Any, State], db: Database) -> Response[RejectedPage]:
    """Of lenient requests and Segment clients; kept for 30 days."""
    query, _ = split_query(request, RejectedQuery)
    caller: Caller = request.scope["state"]["caller"]
    parameters = {"tenant": caller.tenant, "before": query.before, "limit": query.limit}
    rows = await db.read(caller.tenant, LIST, parameters)
    page = RejectedPage([msgspec.convert(row, RejectedEvent) for row in map(_named, rows)])
    if len(rows) == query.limit:
        page.next = page.events[-1].id
    response = json.respond_list(request, page.events, RejectedEvent, page)
    return next_link(request, response, "before", None if page.next is None else str(page.next))


def _named(row: Any) -> dict[str, Any]:
    names = [field.encode_name for field in msgspec.structs.fields(RejectedEvent)]
    return dict(zip(names, row, strict=True))


@post(
    "/events/rejected/replay",
    status_code=200,
    opt={"scope": "ingest", "rate": "bulk", "body": Replay, "body_optional": True},
    operation_id="replayRejectedEvents",
    summary="Try rejected events again",
    tags=["Events"],
)
async def replay_rejected(request: Request[Any, Any, State], db: Database) -> Response[Replayed]:
    """By today's rules, up to 10,000 at once; those that are good now are stored, once."""
    caller: Caller = request.scope["state"]["caller"]
    replay = await read_struct(request, _replay)
    rows = await db.call(REPLAY, {"tenant": caller.tenant, "ids": replay.ids})
    return json.respond(Replayed(*rows[0]))
