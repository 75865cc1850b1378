"""POST /events and POST /events/bulk."""

import hashlib
import re
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
import psycopg
from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import Meta

from pgtally import formats
from pgtally.database import NAMED
from pgtally.http.body import NDJSON_TYPES, media_type_of, read_body
from pgtally.http.operation import Operation
from pgtally.http.passage import Db, Incoming, caller_of, passage_of
from pgtally.http.replies import respond
from pgtally.ingest import store
from pgtally.ingest.events import (
    MAX_ERRORS,
    Batch,
    Envelope,
    Event,
    decode_events,
    split_bulk,
    utc_now,
)
from pgtally.ingest.group_commit import GroupCommit
from pgtally.problems import FieldError, Problem, of_database_error
from pgtally.threads import off_loop

RECEIPT = f"""
  select accepted, duplicates, conflicts, response, created_at
  from api.receipt_find(p_tenant => %(tenant)s::uuid, p_idempotency_key => %(key)s::text)
  {NAMED}
"""


MAX_EVENT_BYTES = 1_048_576


class AnyStoredEvent(msgspec.Struct, rename="camel"):
    """An event as it is stored."""

    id: UUID
    type: str
    occurred_at: datetime
    actor_id: str | None
    session_id: str | None
    value: Annotated[msgspec.Raw, Meta(extra_json_schema={"type": ["number", "null"]})]
    data: Annotated[msgspec.Raw, Meta(extra_json_schema=formats.ANY_OBJECT)]


class StoredEvent(AnyStoredEvent, rename="camel"):
    """The event as it is stored, and whether it was there already."""

    duplicate: bool = False


class Content(msgspec.Struct, rename="camel"):
    """What an event holds besides its id and time, as it is stored."""

    type: str
    actor_id: str | None
    session_id: str | None
    value: msgspec.Raw
    data: msgspec.Raw


class Receipt(msgspec.Struct, rename="camel", omit_defaults=True):
    """What became of a batch. `conflicts` are duplicates under whose id and time something else is
    stored, which stays; `errors` lists what a lenient request left out."""

    accepted: int
    duplicates: int
    conflicts: int = 0
    rejected: int = 0
    errors: list[FieldError] = []


class StoredReceipt(msgspec.Struct, rename="camel"):
    """The receipt of a request with an Idempotency-Key; `response` is the rest of its answer."""

    idempotency_key: str
    created_at: datetime
    accepted: int
    duplicates: int
    conflicts: int
    response: Annotated[msgspec.Raw, Meta(extra_json_schema=formats.ANY_OBJECT)]


def _options(request: Incoming, body: bytes) -> store.Options:
    """Raises Problem 400 for an Idempotency-Key that is no key."""
    received = passage_of(request.scope).received
    prefer, key = received.get("prefer"), received.get("idempotency-key")
    if prefer is None and key is None:
        return store.Options()
    preferences = {part.strip().lower() for part in (prefer or "").replace(";", ",").split(",")}
    lenient = "handling=lenient" in preferences
    fingerprint = b""
    if key is not None:
        if not re.fullmatch(r"[\x21-\x7e]{1,200}", key):
            raise Problem(400, "an Idempotency-Key has 1 to 200 visible ASCII characters")
        asked = f"{request.scope['path']} {lenient}\n".encode()
        fingerprint = hashlib.sha256(asked + body).digest()
    return store.Options(
        lenient, "tx=rollback" in preferences, key or "", fingerprint,
        "return=representation" in preferences,
    )  # fmt: skip


async def _charge(request: Incoming, body: bytes, events: int) -> None:
    """Counts what has come. Raises Problem 429."""
    passage = passage_of(request.scope)
    await passage.charge("bytes", len(body))
    await passage.charge("events", events)


def _columns(batch: Batch, place: int) -> dict[str, Any]:
    """A good event of a batch as the fields of an answer."""
    return {
        "id": batch.event_id[place],
        "type": batch.event_type[place],
        "occurred_at": batch.occurred_at[place],
        "actor_id": batch.actor_id[place],
        "session_id": batch.session_id[place],
        "value": msgspec.Raw(formats.encode(batch.value[place])),
        "data": msgspec.Raw(batch.data[place].obj),
    }


def _representation(batch: Batch) -> list[AnyStoredEvent]:
    """All events of a batch, with the ids and times that they got."""
    return [AnyStoredEvent(**_columns(batch, place)) for place in range(len(batch.index))]


def _answered(response: Response[Any], options: store.Options, replayed: bool) -> Response[Any]:
    """The response with the headers that say which preferences were heeded."""
    applied = ["handling=lenient"] * options.lenient + ["tx=rollback"] * options.dry_run
    applied += ["return=representation"] * options.representation
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
    operation=Operation(
        scope="ingest",
        rate_class="ingest",
        direct=True,
        body=Event,
        preferences=True,
        also={200: "The event was stored already."},
    ),
    summary="Store one event",
    request_max_body_size=MAX_EVENT_BYTES,
)
async def create_event(
    request: Incoming, commits: NamedDependency[GroupCommit]
) -> Response[StoredEvent]:
    """201 when the event is new, 200 with `duplicate: true` when it is stored already."""
    caller = caller_of(request)
    body = await read_body(request)
    options = _options(request, body)
    await _charge(request, body, 1)
    batch = decode_events([body], utc_now())
    if batch.errors:
        errors = [FieldError(e.detail, pointer=e.pointer) for e in batch.errors]
        text = "the event cannot be stored"
        if body.lstrip()[:1] == b"[" or errors[0].pointer == "/events":
            text += "; many at once go to POST /events/bulk"
        raise Problem(400, text, errors)
    stored = StoredEvent(**_columns(batch, 0))
    replayed = False
    try:
        if options.idempotency_key or options.dry_run:
            outcome = await store.store(commits.database, caller.tenant, batch, options, stored, [])
            stored = msgspec.json.decode(outcome.response, type=StoredEvent)
            stored.duplicate, replayed = not outcome.accepted, outcome.replayed
        elif (found := await commits.store(caller.tenant, batch)) is not None:
            held = msgspec.json.decode(found, type=Content)
            for name in Content.__struct_fields__:
                setattr(stored, name, getattr(held, name))
            stored.duplicate = True
    except (Problem, psycopg.Error) as error:
        problem = of_database_error(error) if isinstance(error, psycopg.Error) else error
        for one in problem.errors:
            one.index = None
        raise problem from error
    return _answered(respond(stored, 200 if stored.duplicate else 201), options, replayed)


@post(
    "/events/bulk",
    operation=Operation(scope="ingest", rate_class="bulk", body=Envelope, preferences=True),
    summary="Store up to 10,000 events",
)
async def create_events(request: Incoming, db: Db) -> Response[Receipt]:
    """All or nothing: 400 lists every bad event. `Prefer: handling=lenient` stores the others.

    `Prefer: return=representation` asks for the array of the events, with their ids and times,
    instead of the receipt, and gets it (`Preference-Applied` says so) where all are stored as they
    were sent: not where some were rejected, conflict with others, or were stored by an earlier
    request with the Idempotency-Key.
    """
    caller = caller_of(request)
    body = await read_body(request)
    options = _options(request, body)
    raws = await off_loop(len(body), split_bulk, body, media_type_of(request) in NDJSON_TYPES)
    await _charge(request, body, len(raws))
    batch = await off_loop(len(body), decode_events, raws, utc_now())
    if batch.errors and not options.lenient:
        raise _refusal(batch.errors, len(raws))

    def rejected(by_index: dict[int, list[FieldError]]) -> list[store.Rejected]:
        return [
            store.Rejected("bulk", formats.as_text(bytes(raws[index])), errors, True)
            for index, errors in by_index.items()
        ]

    try:
        async with db.writer(caller.tenant):
            outcome = await store.store_batch(db, caller.tenant, batch, options, rejected)
    except store.Refused as refused:
        raise _refusal(refused.errors, len(raws)) from refused
    # Only where all is stored as it is here: a receipt tells what differs.
    as_sent = outcome.accepted + outcome.duplicates == len(raws) and not outcome.conflicts
    if options.representation and as_sent and not outcome.replayed:
        events = await off_loop(len(body), _representation, batch)
        return _answered(respond(events, 201), options, False)
    options = msgspec.structs.replace(options, representation=False)
    left = msgspec.json.decode(outcome.response, type=store.Left)
    receipt = Receipt(
        outcome.accepted, outcome.duplicates, outcome.conflicts, left.rejected, left.errors
    )
    return _answered(respond(receipt, 201), options, outcome.replayed)


@get(
    "/events/receipts/{idempotency_key:str}",
    operation=Operation(scope="ingest", rate_class="ingest"),
    summary="What became of a request?",
)
async def get_receipt(
    request: Incoming, db: Db, idempotency_key: FromPath[str]
) -> Response[StoredReceipt]:
    """The receipt of a request with this Idempotency-Key; 404 says that nothing was stored."""
    caller = caller_of(request)
    if "\0" in idempotency_key:
        raise Problem(404, "no receipt with this key")
    parameters = {"tenant": caller.tenant, "key": idempotency_key}
    for accepted, duplicates, conflicts, response, created_at in await db.call(RECEIPT, parameters):
        raw = msgspec.Raw(response.encode())
        return respond(
            StoredReceipt(idempotency_key, created_at, accepted, duplicates, conflicts, raw)
        )
    raise Problem(404, "no receipt with this key")
