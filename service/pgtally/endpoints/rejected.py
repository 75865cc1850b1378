"""Events that could not be stored and were kept: listed, and tried again."""

from datetime import datetime
from typing import Annotated

import msgspec
from litestar import Response, get, post
from msgspec import Meta

from pgtally.database import NAMED
from pgtally.http.body import read_struct
from pgtally.http.operation import Operation
from pgtally.http.passage import Db, Incoming, caller_of
from pgtally.http.query_string import read_query
from pgtally.http.replies import respond, respond_page
from pgtally.problems import FieldError

LIST = f"""
  select rejected_id, rejected_at, source, errors, event, replayable, is_full
  from api.rejected_list(
    p_tenant => %(tenant)s::uuid,
    p_before => %(before)s::bigint,
    p_limit => %(limit)s::integer)
  {NAMED}
"""
REPLAY = f"""
  select accepted, duplicates, conflicts, rejected
  from api.rejected_replay(
    p_tenant => %(tenant)s::uuid,
    p_rejected_ids => %(rejected_ids)s::bigint[])
  {NAMED}
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

    rejected_ids: Annotated[
        list[Id], Meta(max_length=10_000, description="All, if absent or empty.")
    ] = msgspec.field(default_factory=list, name="ids")


class Replayed(msgspec.Struct):
    """What became of them: those still rejected stay, with today's errors."""

    accepted: int
    duplicates: int
    conflicts: int
    rejected: int


NAMES = [field.encode_name for field in msgspec.structs.fields(RejectedEvent)]
_replay = msgspec.json.Decoder(Replay)


@get(
    "/events/rejected",
    operation=Operation(scope="read", rate_class="analytics", query=RejectedQuery, pages=True),
    summary="Events that could not be stored",
)
async def list_rejected_events(request: Incoming, db: Db) -> Response[RejectedPage]:
    """Of lenient requests and of the other doors; kept for 30 days."""
    _, arguments = read_query(request, RejectedQuery)
    rows = await db.read(arguments["tenant"], LIST, arguments)
    events = [
        msgspec.convert(dict(zip(NAMES, row[:-1], strict=True)), RejectedEvent) for row in rows
    ]
    is_full = bool(rows and rows[-1][-1])
    return respond_page(request, events, is_full, RejectedPage, "before", lambda e: e.id)


@post(
    "/events/rejected/replay",
    status_code=200,
    operation=Operation(scope="ingest", rate_class="bulk", body=Replay, body_optional=True),
    summary="Try rejected events again",
)
async def replay_rejected_events(request: Incoming, db: Db) -> Response[Replayed]:
    """By today's rules, up to 10,000 at once; those that are good now are stored, once."""
    replay = await read_struct(request, _replay)
    arguments = {"tenant": caller_of(request).tenant, "rejected_ids": replay.rejected_ids}
    return respond(Replayed(*(await db.call(REPLAY, arguments))[0]))
