"""POST /events and POST /events/bulk."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import psycopg
from litestar import Request, Response, post
from litestar.datastructures import State

from service import json
from service.authentication import Caller
from service.database import Database
from service.decoding import (
    MAX_ERRORS,
    Batch,
    Envelope,
    Event,
    decode_events,
    read_body,
    split_bulk,
    utc_now,
)
from service.group_commit import GroupCommit
from service.problems import FieldError, Problem, of_database_error

# Placeholders with b go in binary; psycopg would send lists as text, which costs PostgreSQL 2 us an
# event more.
INGEST = """
  select accepted, duplicates
  from api.events_ingest(
    p_tenant => %(tenant)s::uuid,
    p_occurred_at => %(occurred_at)b::timestamptz[],
    p_event_id => %(event_id)b::uuid[],
    p_event_type => %(event_type)b::text[],
    p_value => %(value)b::numeric[],
    p_actor_id => %(actor_id)b::text[],
    p_session_id => %(session_id)b::text[],
    p_data => %(data)b::jsonb[])
"""


class StoredEvent(msgspec.Struct, rename="camel"):
    """The event as it is stored, and whether it was there already."""

    id: UUID
    type: str
    occurred_at: datetime
    actor_id: str | None
    session_id: str | None
    value: Any
    data: msgspec.Raw
    duplicate: bool


class Receipt(msgspec.Struct, rename="camel", omit_defaults=True):
    """What became of a batch. `errors` lists what a lenient request left out."""

    accepted: int
    duplicates: int
    rejected: int = 0
    errors: list[FieldError] = []


def _refusal(errors: list[FieldError], count: int) -> Problem:
    bad = len({error.index for error in errors})
    text = f"{bad:,} of {count:,} events cannot be stored; nothing was"
    if len(errors) > MAX_ERRORS:
        text += f"; the first {MAX_ERRORS:,} of {len(errors):,} errors are listed"
    return Problem(400, text, errors[:MAX_ERRORS])


@post(
    "/events",
    opt={"scope": "ingest", "rate": "ingest", "body": Event},
    operation_id="createEvent",
    summary="Store one event",
    tags=["Events"],
)
async def create_event(
    request: Request[Any, Any, State], commits: GroupCommit, max_body_bytes: int
) -> Response[StoredEvent]:
    """201 when the event is new, 200 with `duplicate: true` when it is stored already."""
    caller: Caller = request.scope["state"]["caller"]
    body = await read_body(request, max_body_bytes)
    batch = decode_events([body], utc_now())
    if batch.errors:
        errors = [FieldError(e.detail, pointer=e.pointer) for e in batch.errors]
        raise Problem(400, "the event cannot be stored", errors)
    try:
        accepted = await commits.store(caller.tenant, batch)
    except Problem as problem:
        for error in problem.errors:
            error.index = None
        raise
    stored = StoredEvent(
        id=batch.event_id[0],
        type=batch.event_type[0],
        occurred_at=batch.occurred_at[0],
        actor_id=batch.actor_id[0],
        session_id=batch.session_id[0],
        value=batch.value[0],
        data=msgspec.Raw(batch.data[0].obj),
        duplicate=not accepted,
    )
    return json.respond(stored, 201 if accepted else 200)


@post(
    "/events/bulk",
    opt={"scope": "ingest", "rate": "bulk", "body": Envelope},
    operation_id="createEvents",
    summary="Store up to 10,000 events",
    tags=["Events"],
)
async def create_events(
    request: Request[Any, Any, State], db: Database, max_body_bytes: int
) -> Response[Receipt]:
    """All or nothing: 400 lists every bad event. `Prefer: handling=lenient` stores the others."""
    caller: Caller = request.scope["state"]["caller"]
    body = await read_body(request, max_body_bytes)
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    raws = split_bulk(body, media_type)
    batch = decode_events(raws, utc_now())
    lenient = "handling=lenient" in request.headers.get("prefer", "").replace(" ", "").lower()
    if batch.errors and not lenient:
        raise _refusal(batch.errors, len(raws))
    accepted, duplicates = 0, 0
    while batch.index:
        try:
            accepted, duplicates = (await db.call(INGEST, batch.parameters(caller.tenant)))[0]
            break
        except psycopg.Error as error:
            problem = of_database_error(error)
            refused = {batch.index[e.index]: e for e in problem.errors if e.index is not None}
            if not refused:
                raise
            batch.errors += [
                FieldError(e.detail, pointer=e.pointer, index=index) for index, e in refused.items()
            ]
            batch.errors.sort(key=lambda e: e.index or 0)
            if not lenient:
                raise _refusal(batch.errors, len(raws)) from error
            batch = _without(batch, set(refused))
    rejected = len({error.index for error in batch.errors})
    receipt = Receipt(accepted, duplicates, rejected, batch.errors[:MAX_ERRORS])
    return json.respond(receipt, 201)


def _without(batch: Batch, refused: set[int]) -> Batch:
    kept = [i for i, index in enumerate(batch.index) if index not in refused]
    columns = {
        name: [getattr(batch, name)[i] for i in kept]
        for name in batch.__struct_fields__
        if name != "errors"
    }
    return Batch(**columns, errors=batch.errors)
