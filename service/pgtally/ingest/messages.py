"""What the doors share on the way from a message of some client to an event: lenient decoding, and
the parts of a message as the rule book wants them."""

import json as stdlib_json
import math
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid5

import msgspec

from pgtally.formats import as_text, encode, encode_sorted
from pgtally.ingest.events import Batch, data_problem, is_storable
from pgtally.ingest.uuid7 import uuid7_time
from pgtally.problems import FieldError, Problem

# Of the data of a message; in replay the same: sql/functions/ingest/replay_errors.sql.
MAX_EVENT_BYTES = 1_048_576
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


def text(value: Any, name: str) -> str | None:
    """A text that is not empty, or None; numbers become texts. Raises Unmappable."""
    if isinstance(value, bool) or value is None or value == "":
        return None
    if isinstance(value, int | float | Decimal):
        value = str(value)
    if not isinstance(value, str):
        raise Unmappable(f"{name}: expected a text")
    if len(value) > 200:
        raise Unmappable(f"{name}: longer than 200 characters")
    return value


def time(
    message: dict[str, Any], names: Sequence[str], event_id: UUID | None, now: datetime
) -> datetime:
    """The first of these fields that is there; else the time of a UUIDv7, or now. Never corrected
    by when the message was sent, which changes over retries: the id would stay, the time move.
    Raises Unmappable."""
    for name in names:
        said = message.get(name)
        if said is None or said == "":
            continue
        try:
            at = datetime.fromisoformat(said)
        except (TypeError, ValueError):
            raise Unmappable(f"{name}: expected an ISO 8601 time") from None
        return at if at.tzinfo else at.replace(tzinfo=UTC)
    return (uuid7_time(event_id) if event_id is not None else None) or now


def event_id(given: Any, tenant: UUID, message: dict[str, Any]) -> UUID:
    """The id that a client gave, or a name-based one where it is no UUID; without one, of the
    event's canonical bytes, so that a retry is the same event."""
    if given is None or given == "":
        return uuid5(tenant, encode_sorted(message).decode())
    try:
        return UUID(given)
    except (ValueError, AttributeError, TypeError):
        return uuid5(tenant, str(given))


def value(properties: dict[str, Any]) -> Decimal | None:
    """`value`, else `revenue`, if it is a number that can be stored."""
    for name in ("value", "revenue"):
        number = properties.get(name)
        if isinstance(number, int | float | Decimal) and not isinstance(number, bool):
            exact = number if isinstance(number, Decimal) else Decimal(str(number))
            return exact if is_storable(exact) else None
    return None


def an_object(message: dict[str, Any], name: str) -> dict[str, Any]:
    """A field that is an object or absent. Raises Unmappable."""
    found = message.get(name)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise Unmappable(f"{name}: expected an object")
    return found


def put_apart(data: dict[str, Any], name: str, more: dict[str, Any]) -> None:
    """Adds what came beside the properties, under a name of its own."""
    if more:
        data[f"${name}" if name in data else name] = more


def encode_data(data: dict[str, Any], name: str, max_bytes: int = MAX_EVENT_BYTES) -> bytes:
    """`data` as it is stored. Raises Unmappable, which names the field that it came from."""
    encoded = encode(data)
    if problem := data_problem(encoded, max_bytes):
        raise Unmappable(f"{name}: {problem}")
    return encoded


# Adds a message to a batch: at this index, for this tenant, received at this time. Raises
# Unmappable.
Mapper = Callable[[Batch, Any, int, UUID, datetime], None]


def map_all(
    messages: Sequence[Any], mapper: Mapper, tenant: UUID, now: datetime
) -> tuple[Batch, dict[int, str]]:
    """The messages as events, and those that became one in the form of POST /events, in which they
    can be replayed; by index."""
    batch = Batch()
    for index, message in enumerate(messages):
        try:
            mapper(batch, message, index, tenant, now)
        except Unmappable as error:
            batch.errors.append(FieldError(str(error), index=index))
    return batch, {index: _native(batch, place) for place, index in enumerate(batch.index)}


def _native(batch: Batch, place: int) -> str:
    return as_text(
        encode(
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
