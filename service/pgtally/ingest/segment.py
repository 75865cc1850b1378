"""What Segment's and RudderStack's clients send, as events. They keep a message's id and time over
retries, so a retry is the same event."""

import json as stdlib_json
import math
import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid5

import msgspec

from pgtally.formats import encode, encode_sorted
from pgtally.ingest.events import Batch, data_problem, is_storable
from pgtally.ingest.uuid7 import uuid7_time
from pgtally.problems import Problem

MAX_EVENT_BYTES = 1_048_576
TYPES = {
    "t": "track", "i": "identify", "p": "page", "s": "screen", "g": "group", "a": "alias",
}  # fmt: skip
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
    if isinstance(value, Decimal) and not value.is_finite():
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _vast(text: str) -> Decimal:
    """A number that is exact or, beyond what Decimal can hold, one that is refused as too large."""
    try:
        return Decimal(text)
    except ArithmeticError:
        return Decimal("1E+999999")


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
                parse_float=_vast,
                parse_int=lambda text: int(text) if len(text) < 300 else Decimal(text),
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
        return uuid5(tenant, encode_sorted(told).decode())
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
    encoded = encode(data)
    if problem := data_problem(encoded, MAX_EVENT_BYTES):
        raise Unmappable(f"properties: {problem}")
    batch.add(
        index, occurred_at, event_id, event_type, _value(properties), actor or anonymous, session,
        encoded,
    )  # fmt: skip
