"""POST /v1/...: what Segment's and RudderStack's clients and analytics.js send, unmodified.

They retry what is not exactly 200 for minutes, so an event that cannot be stored is kept among the
rejected ones and the answer is 200 all the same. They keep a message's id and time over retries, so
a retry is the same event.
"""

import json as stdlib_json
import math
import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid5

import msgspec
from litestar import Request, Response, post
from litestar.datastructures import State
from psycopg.types.json import Jsonb

from service import ingest, json
from service.authentication import Caller, unauthorized
from service.database import Database
from service.decoding import (
    Batch,
    as_text,
    data_problem,
    inflate,
    is_storable,
    keep,
    utc_now,
)
from service.middleware import Gate
from service.problems import FieldError, Problem
from service.uuid7 import uuid7_time

MAX_BODY_BYTES = 25_165_824  # 24 MiB, also inflated
MAX_EVENT_BYTES = 1_048_576
CHUNK = 5_000
TYPES = {
    "t": "track", "i": "identify", "p": "page", "s": "screen", "g": "group", "a": "alias",
}  # fmt: skip
SUCCESS = {"success": True}
_any = msgspec.json.Decoder(Any, float_hook=Decimal)
_surrogate = re.compile("[\ud800-\udfff]")


class Unmappable(Exception):
    """A message that is no event; says why."""


def _scrub(value: Any) -> Any:
    """What Python clients send and PostgreSQL cannot store, made storable."""
    if isinstance(value, str):
        return _surrogate.sub("\ufffd", value.replace("\0", ""))
    if isinstance(value, dict):
        return {_scrub(key): _scrub(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_scrub(inner) for inner in value]
    if isinstance(value, float | Decimal) and not math.isfinite(value):
        return None
    return value


def decode(body: bytes) -> Any:
    """The body as it is, or scrubbed where it holds NaN, lone surrogates, NUL or broken UTF-8: one
    such event must not cost the 99 others of its batch. Raises Problem 400."""
    try:
        decoded = _any.decode(body)
        return _scrub(decoded) if b"\\u0000" in body else decoded
    except (msgspec.DecodeError, UnicodeDecodeError, ArithmeticError):
        pass
    except RecursionError:
        raise Problem(400, "the body is nested too deeply") from None
    try:
        return _scrub(
            stdlib_json.loads(
                body.decode(errors="replace"),
                parse_float=Decimal,
                parse_constant=lambda _: None,
                strict=False,
            )
        )
    except (ValueError, ArithmeticError, RecursionError) as error:
        raise Problem(400, "the body is not JSON") from error


def _text(value: Any, name: str) -> str | None:
    if isinstance(value, bool) or value is None or value == "":
        return None
    if isinstance(value, int | float | Decimal):
        value = str(value)
    if not isinstance(value, str):
        raise Unmappable(f"{name}: expected a text")
    if len(value) > 200:
        raise Unmappable(f"{name}: longer than 200 characters")
    return value


def _time(message: dict[str, Any], event_id: Any, now: datetime) -> datetime:
    """Not corrected by sentAt, which changes over retries: the id would stay, the time move."""
    for name in ("originalTimestamp", "timestamp"):
        text = message.get(name)
        if text is None or text == "":
            continue
        try:
            at = datetime.fromisoformat(text)
        except (TypeError, ValueError):
            raise Unmappable(f"{name}: expected an ISO 8601 time") from None
        return at if at.tzinfo else at.replace(tzinfo=UTC)
    return (uuid7_time(event_id) if isinstance(event_id, UUID) else None) or now


def _id(message: dict[str, Any], tenant: UUID) -> UUID:
    """The message's own id, or a name-based one; without an id, of the event's canonical bytes, so
    that a retry is the same event."""
    name = message.get("messageId")
    if name is None or name == "":
        told = {k: v for k, v in message.items() if k not in ("sentAt", "receivedAt", "writeKey")}
        return uuid5(tenant, json.encode_sorted(told).decode())
    try:
        return UUID(name)
    except (ValueError, AttributeError, TypeError):
        return uuid5(tenant, str(name))


def _value(properties: dict[str, Any]) -> Decimal | None:
    for name in ("value", "revenue"):
        number = properties.get(name)
        if isinstance(number, int | float | Decimal) and not isinstance(number, bool):
            exact = number if isinstance(number, Decimal) else Decimal(str(number))
            return exact if is_storable(exact) else None
    return None


def _object(message: dict[str, Any], name: str) -> dict[str, Any]:
    found = message.get(name)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise Unmappable(f"{name}: expected an object")
    return found


def add_message(
    batch: Batch, message: Any, kind: str | None, tenant: UUID, index: int, now: datetime
) -> None:
    """Maps a message to the columns of a batch. Raises Unmappable."""
    if not isinstance(message, dict):
        raise Unmappable("expected an object")
    kind = kind or message.get("type")
    if kind not in TYPES.values():
        raise Unmappable("type: expected track, identify, page, screen, group or alias")
    event_type = f"${kind}"
    if kind == "track":
        event_type = _text(message.get("event"), "event") or ""
        if not event_type:
            raise Unmappable("event: required")
    actor = _text(message.get("userId"), "userId")
    anonymous = _text(message.get("anonymousId"), "anonymousId")
    if actor is None and anonymous is None:
        raise Unmappable("userId or anonymousId: required")
    context = dict(_object(message, "context"))
    session = _text(context.pop("sessionId", None), "context.sessionId")
    properties = _object(message, "properties")
    data = dict(properties)
    if kind in ("identify", "group"):
        # RudderStack's clients put them into the context.
        data |= _object(message, "traits") or _object(
            {"traits": context.pop("traits", None)}, "traits"
        )
    for name in ("name", "category", "groupId", "previousId"):
        if message.get(name) is not None and name not in data:
            data[name] = message[name]
    if actor is not None and anonymous is not None:
        context["anonymousId"] = anonymous
    if context:
        data["$context" if "context" in data else "context"] = context
    event_id = _id(message, tenant)
    occurred_at = _time(message, event_id, now)
    encoded = json.encode(data)
    if problem := data_problem(encoded, MAX_EVENT_BYTES):
        raise Unmappable(f"properties: {problem}")
    batch.index.append(index)
    batch.occurred_at.append(occurred_at)
    batch.event_id.append(event_id)
    batch.event_type.append(event_type)
    batch.value.append(_value(properties))
    batch.actor_id.append(actor or anonymous)
    batch.session_id.append(session)
    batch.data.append(Jsonb(encoded, dumps=keep))


def _messages(decoded: Any, kind: str | None) -> list[Any]:
    if kind is not None:
        return [decoded]
    messages = decoded.get("batch") if isinstance(decoded, dict) else None
    if not isinstance(messages, list):
        raise Problem(400, "expected an object with a batch of messages")
    return messages


def _native(batch: Batch, place: int) -> str:
    """An event in the form of POST /events, so that it can be replayed."""
    return as_text(
        json.encode(
            {
                "type": batch.event_type[place],
                "occurredAt": batch.occurred_at[place],
                "id": batch.event_id[place],
                "actorId": batch.actor_id[place],
                "sessionId": batch.session_id[place],
                "value": batch.value[place],
                "data": msgspec.Raw(batch.data[place].obj),
            }
        )
    )


async def _store(db: Database, tenant: UUID, messages: list[Any], kind: str | None) -> None:
    now = utc_now()
    for start in range(0, len(messages), CHUNK):
        chunk = messages[start : start + CHUNK]
        batch = Batch([], [], [], [], [], [], [], [], [])
        for index, message in enumerate(chunk):
            try:
                add_message(batch, message, kind, tenant, index, now)
            except Unmappable as error:
                batch.errors.append(FieldError(str(error), index=index))
        mapped = {index: _native(batch, place) for place, index in enumerate(batch.index)}

        def rejected(
            by_index: dict[int, list[FieldError]],
            chunk: list[Any] = chunk,
            mapped: dict[int, str] = mapped,
        ) -> list[ingest.Rejected]:
            return [
                ingest.Rejected(
                    "segment",
                    mapped.get(index) or as_text(json.encode(chunk[index])),
                    errors,
                    index in mapped,
                )
                for index, errors in by_index.items()
            ]

        await ingest.store_batch(db, tenant, batch, ingest.Options(lenient=True), rejected)


async def _take(request: Request[Any, Any, State], db: Database, kind: str | None) -> Response[Any]:
    # Content-Type and Content-Encoding lie: gzip labelled as a form, JSON as plain text. Sniff.
    body = await request.body()
    if body[:2] == b"\x1f\x8b":
        body = inflate(body, MAX_BODY_BYTES)
    decoded = decode(body)
    write_key = decoded.get("writeKey") if isinstance(decoded, dict) else None
    state = request.scope["state"]
    caller: Caller | None = state.get("caller")
    if write_key and state.get("key") and write_key != state["key"]:
        raise unauthorized("the header and the body's writeKey name different keys")
    if caller is None:
        if not isinstance(write_key, str):
            raise unauthorized("no API key: send it as Basic user name, Bearer, or writeKey")
        gate: Gate = request.app.state.gate
        caller = await gate.admit(request.scope, write_key)
    await _store(db, caller.tenant, _messages(decoded, kind), kind)
    return json.respond(SUCCESS)


def _operation_id(_: Any, __: Any, path: list[Any]) -> str:
    return f"segment{str(path[-1]).capitalize()}"


OPT = {"scope": "ingest", "rate": "bulk", "segment": True, "body": dict}


@post(
    ["/v1/batch", "/v1/b", "/v1/import"],
    status_code=200,
    opt=OPT,
    request_max_body_size=MAX_BODY_BYTES,
    operation_id=_operation_id,
    summary="A batch of Segment messages",
    tags=["Segment"],
)
async def segment_batch(
    request: Request[Any, Any, State], db: Database
) -> Response[dict[str, bool]]:
    """Exactly 200 unless the body is no batch; messages that cannot be stored are kept."""
    return await _take(request, db, None)


@post(
    [f"/v1/{path}" for pair in TYPES.items() for path in pair],
    status_code=200,
    opt={**OPT, "rate": "ingest"},
    request_max_body_size=MAX_BODY_BYTES,
    operation_id=_operation_id,
    summary="One Segment message",
    tags=["Segment"],
)
async def segment_message(
    request: Request[Any, Any, State], db: Database
) -> Response[dict[str, bool]]:
    """track, identify, page, screen, group or alias; the path says which."""
    name = request.url.path.rpartition("/")[2]
    return await _take(request, db, TYPES.get(name, name))


@post(
    "/v1/m",
    status_code=200,
    opt={"public": True},
    operation_id="segmentMetrics",
    summary="The clients' own metrics",
    tags=["Segment"],
)
async def segment_metrics() -> Response[dict[str, bool]]:
    """Discarded."""
    return json.respond(SUCCESS)
