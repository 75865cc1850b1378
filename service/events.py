"""POST /events and POST /events/bulk."""

import hashlib
import re
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
import psycopg
from litestar import Request, Response, get, post
from litestar.datastructures import State
from msgspec import Meta

from service import ingest, json
from service.authentication import Caller
from service.database import Database
from service.decoding import (
    MAX_ERRORS,
    Envelope,
    Event,
    as_text,
    decode_events,
    read_body,
    split_bulk,
    utc_now,
)
from service.group_commit import GroupCommit
from service.ingest import Options
from service.problems import FieldError, Problem, of_database_error

RECEIPT = """
  select accepted, duplicates, response, created_at
  from api.receipt_find(p_tenant => %(tenant)s::uuid, p_idempotency_key => %(key)s::text)
"""


class StoredEvent(msgspec.Struct, rename="camel"):
    """The event as it is stored, and whether it was there already."""

    id: UUID
    type: str
    occurred_at: datetime
    actor_id: str | None
    session_id: str | None
    value: Annotated[msgspec.Raw, Meta(extra_json_schema={"type": ["number", "null"]})]
    data: Annotated[msgspec.Raw, Meta(extra_json_schema={"type": "object"})]
    duplicate: bool = False


class Receipt(msgspec.Struct, rename="camel", omit_defaults=True):
    """What became of a batch. `errors` lists what a lenient request left out."""

    accepted: int
    duplicates: int
    rejected: int = 0
    errors: list[FieldError] = []


class StoredReceipt(msgspec.Struct, rename="camel"):
    """The receipt of a request with an Idempotency-Key; `response` is the rest of its answer."""

    idempotency_key: str
    created_at: datetime
    accepted: int
    duplicates: int
    response: Annotated[msgspec.Raw, Meta(extra_json_schema={"type": "object"})]


def _options(request: Request[Any, Any, State], body: bytes) -> Options:
    """Raises Problem 400 for an Idempotency-Key that is no key."""
    preferences = {
        part.strip().lower()
        for part in request.headers.get("prefer", "").replace(";", ",").split(",")
    }
    key = request.headers.get("idempotency-key", "")
    if "idempotency-key" in request.headers and not re.fullmatch(r"[\x21-\x7e]{1,200}", key):
        raise Problem(400, "an Idempotency-Key has 1 to 200 visible ASCII characters")
    lenient = "handling=lenient" in preferences
    asked = f"{request.scope['path']} {lenient}\n".encode()
    return Options(
        lenient, "tx=rollback" in preferences, key, hashlib.sha256(asked + body).digest()
    )


def _answered(response: Response[Any], options: Options, replayed: bool) -> Response[Any]:
    """The response with the headers that say which preferences were heeded."""
    applied = ["handling=lenient"] * options.lenient + ["tx=rollback"] * options.dry_run
    if applied:
        response.headers["Preference-Applied"] = ", ".join(applied)
    if replayed:
        response.headers["Idempotency-Replayed"] = "true"
    return response


def _refusal(errors: list[FieldError], count: int) -> Problem:
    bad = len({error.index for error in errors})
    text = f"{bad:,} of {count:,} events cannot be stored; nothing was"
    if len(errors) > MAX_ERRORS:
        text += f"; the first {MAX_ERRORS:,} of {len(errors):,} errors are listed"
    return Problem(400, text, errors[:MAX_ERRORS])


@post(
    "/events",
    opt={
        "scope": "ingest",
        "rate": "ingest",
        "body": Event,
        "request": True,
        "also": {200: "The event was stored already."},
    },
    operation_id="createEvent",
    summary="Store one event",
    tags=["Events"],
)
async def create_event(
    request: Request[Any, Any, State], commits: GroupCommit
) -> Response[StoredEvent]:
    """201 when the event is new, 200 with `duplicate: true` when it is stored already."""
    caller: Caller = request.scope["state"]["caller"]
    body = await read_body(request)
    options = _options(request, body)
    batch = decode_events([body], utc_now())
    if batch.errors:
        errors = [FieldError(e.detail, pointer=e.pointer) for e in batch.errors]
        raise Problem(400, "the event cannot be stored", errors)
    stored = StoredEvent(
        id=batch.event_id[0],
        type=batch.event_type[0],
        occurred_at=batch.occurred_at[0],
        actor_id=batch.actor_id[0],
        session_id=batch.session_id[0],
        value=msgspec.Raw(json.encode(batch.value[0])),
        data=msgspec.Raw(batch.data[0].obj),
    )
    replayed = False
    try:
        if options.idempotency_key or options.dry_run:
            accepted, _, replayed, response = await ingest.store(
                commits.database, caller.tenant, batch, options, stored, []
            )
            stored = msgspec.json.decode(response, type=StoredEvent)
        else:
            accepted = await commits.store(caller.tenant, batch)
    except (Problem, psycopg.Error) as error:
        problem = of_database_error(error) if isinstance(error, psycopg.Error) else error
        for one in problem.errors:
            one.index = None
        raise problem from error
    stored.duplicate = not accepted
    return _answered(json.respond(stored, 201 if accepted else 200), options, replayed)


@post(
    "/events/bulk",
    opt={"scope": "ingest", "rate": "bulk", "body": Envelope, "request": True},
    operation_id="createEvents",
    summary="Store up to 10,000 events",
    tags=["Events"],
)
async def create_events(request: Request[Any, Any, State], db: Database) -> Response[Receipt]:
    """All or nothing: 400 lists every bad event. `Prefer: handling=lenient` stores the others."""
    caller: Caller = request.scope["state"]["caller"]
    body = await read_body(request)
    options = _options(request, body)
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    raws = split_bulk(body, media_type)
    batch = decode_events(raws, utc_now())
    if batch.errors and not options.lenient:
        raise _refusal(batch.errors, len(raws))

    def rejected(by_index: dict[int, list[FieldError]]) -> list[ingest.Rejected]:
        return [
            ingest.Rejected("bulk", as_text(bytes(raws[index])), errors, True)
            for index, errors in by_index.items()
        ]

    try:
        accepted, duplicates, replayed, left = await ingest.store_batch(
            db, caller.tenant, batch, options, rejected
        )
    except ingest.Refused as refused:
        raise _refusal(refused.errors, len(raws)) from refused
    receipt = Receipt(accepted, duplicates, left.rejected, left.errors)
    return _answered(json.respond(receipt, 201), options, replayed)


@get(
    "/events/receipts/{idempotency_key:str}",
    opt={"scope": "ingest", "rate": "ingest"},
    operation_id="getReceipt",
    summary="What became of a request?",
    tags=["Events"],
)
async def get_receipt(
    request: Request[Any, Any, State], db: Database, idempotency_key: str
) -> Response[StoredReceipt]:
    """The receipt of a request with this Idempotency-Key; 404 says that nothing was stored."""
    caller: Caller = request.scope["state"]["caller"]
    if "\0" in idempotency_key:
        raise Problem(404, "no receipt with this key")
    parameters = {"tenant": caller.tenant, "key": idempotency_key}
    for accepted, duplicates, response, created_at in await db.call(RECEIPT, parameters):
        raw = msgspec.Raw(response.encode())
        return json.respond(StoredReceipt(idempotency_key, created_at, accepted, duplicates, raw))
    raise Problem(404, "no receipt with this key")
