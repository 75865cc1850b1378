"""The rules of an event: from bytes to typed columns, strictly, with every error named."""

import re
from collections.abc import Callable, Container, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta
from psycopg.types.json import Jsonb

from pgtally.formats import ANY_OBJECT, keep
from pgtally.ingest.uuid7 import uuid7, uuid7_time
from pgtally.problems import FieldError, Problem
from pgtally.vocabulary import EVENT_COLUMNS
from pgtally.wording import decode_error

MAX_EVENTS = 10_000
MAX_ERRORS = 1_000
MAX_DATA_BYTES = 65_536
BULK_FORMS = (
    'the body is not valid; send {"events": [...]}, or an array of events, or, with Content-Type '
    "application/x-ndjson, an event a line. A single event goes to POST /events"
)
MAX_DATA_DEPTH = 32
MAX_VALUE = Decimal("1e30")

EMPTY = msgspec.Raw(b"{}")
NULL = msgspec.Raw(b"null")

Text = Annotated[str, Meta(min_length=1, max_length=200)]


class Event(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """An event as a client sends it."""

    type: Annotated[Text, Meta(description="What happened, for example `departure`.")]
    occurred_at: Annotated[
        Annotated[datetime, Meta(tz=True)] | None,
        Meta(description="When, with an offset. Without it, the time of a UUIDv7 id, or now."),
    ] = None
    id: Annotated[
        UUID | None,
        Meta(description="Makes a retry safe: the same id and time is stored once."),
    ] = None
    actor_id: Annotated[Text | None, Meta(description="Who did it; see uniqueActors.")] = None
    session_id: Text | None = None
    value: Annotated[
        msgspec.Raw,
        Meta(
            description="A number to sum and average, kept to the last digit.",
            extra_json_schema={"type": ["number", "null"]},
        ),
    ] = msgspec.field(default_factory=lambda: NULL)
    data: Annotated[
        msgspec.Raw,
        Meta(
            description="Anything else: an object of at most 64 KB and 32 levels.",
            extra_json_schema=ANY_OBJECT,
        ),
    ] = msgspec.field(default_factory=lambda: EMPTY)


class Envelope(msgspec.Struct, forbid_unknown_fields=True):
    """The body of POST /events/bulk."""

    events: list[
        Annotated[msgspec.Raw, Meta(extra_json_schema={"$ref": "#/components/schemas/Event"})]
    ]


class Batch(msgspec.Struct):
    """Good events as columns, ready for the ingest functions, the position each one came from, and
    what is wrong with the others."""

    index: list[int] = []
    occurred_at: list[datetime] = []
    event_id: list[UUID] = []
    event_type: list[str] = []
    value: list[Decimal | None] = []
    actor_id: list[str | None] = []
    session_id: list[str | None] = []
    data: list[Jsonb] = []
    errors: list[FieldError] = []

    def add(
        self,
        index: int,
        occurred_at: datetime,
        event_id: UUID,
        event_type: str,
        value: Decimal | None,
        actor_id: str | None,
        session_id: str | None,
        data: bytes,
    ) -> None:
        """Appends a good event."""
        self.index.append(index)
        self.occurred_at.append(occurred_at)
        self.event_id.append(event_id)
        self.event_type.append(event_type)
        self.value.append(value)
        self.actor_id.append(actor_id)
        self.session_id.append(session_id)
        self.data.append(Jsonb(data, dumps=keep))

    def arguments(self) -> dict[str, object]:
        """The columns as arguments of an ingest statement."""
        return {name: getattr(self, name) for name in EVENT_COLUMNS}

    def without(self, refused: Container[int | None]) -> "Batch":
        """The batch without the events at these positions."""
        kept = [i for i, index in enumerate(self.index) if index not in refused]
        columns = {
            name: [getattr(self, name)[i] for i in kept]
            for name in self.__struct_fields__
            if name != "errors"
        }
        return Batch(**columns, errors=self.errors)


_event = msgspec.json.Decoder(Event)
_envelope = msgspec.json.Decoder(Envelope)
_raw_list = msgspec.json.Decoder(list[msgspec.Raw])

# The rules of `data` that msgspec does not check where it only skips: what jsonb cannot store, and
# bounds. They are those of sql/functions/ingest/data_error.sql, on the same text; a test sends the
# same events through both. Few events have a suspicious text, which is then looked at without its
# strings.
_suspicious = re.compile(rb"\\u0000|[0-9][eE][+-]?[0-9]{3}|[-+.eE0-9]{301}")
_nul = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_string = re.compile(rb'"(?:[^"\\]|\\.)*"')
_vast_number = re.compile(
    rb"[-+.eE0-9]{301}|[0-9][eE][+-]?0*(?:[0-9]{4,}|[4-9][0-9]{2}|3(?:0[1-9]|[1-9][0-9]))"
)
# The rules of `value`: those of sql/functions/ingest/value_error.sql.
_number = re.compile(rb"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_vast_exponent = re.compile(rb"[eE][+-]?0*(?:[0-9]{4,}|[2-9][0-9]{2}|1(?:0[1-9]|[1-9][0-9]))$")
MAX_DIGITS = 100


def _depth(bare: bytes) -> int:
    """How deep a JSON text without its strings is nested."""
    deepest = depth = 0
    for bracket in re.finditer(rb"[\[\]{}]", bare):
        depth += 1 if bracket[0] in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest


def data_problem(raw: bytes, max_bytes: int = MAX_DATA_BYTES) -> str | None:
    """What is wrong with a JSON text that should become `data`; None if nothing is."""
    if raw[:1] != b"{":
        return "expected an object"
    if len(raw) > max_bytes:
        return f"longer than {max_bytes:,} bytes"
    suspicious = _suspicious.search(raw)
    if not suspicious and raw.count(b"{") + raw.count(b"[") <= MAX_DATA_DEPTH:
        return None
    if _nul.search(raw):
        return "holds a NUL character, which cannot be stored"
    bare = _string.sub(b"", raw)
    if suspicious and _vast_number.search(bare):
        return "holds a number of more than 300 characters, or with an exponent beyond 300"
    if _depth(bare) > MAX_DATA_DEPTH:
        return f"deeper than {MAX_DATA_DEPTH} levels"
    return None


def is_storable(number: Decimal) -> bool:
    """Can this be the value of an event?"""
    return (
        number.copy_abs() < MAX_VALUE
        and number.adjusted() >= -MAX_DIGITS
        and len(str(number)) <= MAX_DIGITS
    )


def _value(raw: bytes) -> Decimal | None:
    """The value as an exact number. Raises ValueError with what is wrong."""
    if raw == b"null":
        return None
    if not _number.fullmatch(raw):
        raise ValueError("expected a number")
    if len(raw) <= MAX_DIGITS and not _vast_exponent.search(raw):
        number = Decimal(raw.decode())
        if number.copy_abs() < MAX_VALUE:
            return number
    raise ValueError(
        "must be between -1e30 and 1e30 and have at most 100 characters, exponents from -100 to 100"
    )


def decode_events(
    raws: Sequence[msgspec.Raw | bytes],
    now: datetime,
    decoder: msgspec.json.Decoder[Any] = _event,
    make_id: Callable[[int], UUID] | None = None,
    max_data_bytes: int = MAX_DATA_BYTES,
) -> Batch:
    """Decodes events one by one. Every bad one gets its errors, with its index. An event without an
    id gets one of make_id, by default a UUIDv7 of now."""
    batch = Batch()
    for index, raw in enumerate(raws):
        problems: list[tuple[str, str]] = []
        try:
            event = decoder.decode(raw)
        except (msgspec.DecodeError, RecursionError) as error:
            batch.errors.append(decode_error(error, decoder.type))
            batch.errors[-1].index = index
            continue
        except UnicodeDecodeError:
            batch.errors.append(FieldError("is not UTF-8", pointer="", index=index))
            continue
        data = bytes(event.data)
        if data == b"null":
            data = b"{}"
        if problem := data_problem(data, max_data_bytes):
            problems.append((problem, "/data"))
        for name, text in (
            ("type", event.type),
            ("actorId", event.actor_id),
            ("sessionId", event.session_id),
        ):
            if text is not None and "\0" in text:
                problems.append(("holds a NUL character, which cannot be stored", "/" + name))
        value = None
        try:
            value = _value(bytes(event.value))
        except (ValueError, ArithmeticError) as error:
            problems.append((str(error), "/value"))
        occurred_at = event.occurred_at
        if occurred_at is None:
            occurred_at = now if event.id is None else uuid7_time(event.id)
        if occurred_at is None:
            text = "without occurredAt the id must be a UUIDv7, from which the time is taken"
            problems.append((text, "/id"))
        elif not 1900 <= occurred_at.year < 2200:
            # Far from what is stored, and perhaps from what can be sent.
            problems.append(("lies before 1980 or in the future", "/occurredAt"))
        if problems or occurred_at is None:
            batch.errors += [FieldError(d, pointer=p, index=index) for d, p in problems]
            continue
        batch.add(
            index, occurred_at, event.id or (make_id(index) if make_id else uuid7(now)), event.type,
            value, event.actor_id, event.session_id, data,
        )  # fmt: skip
    return batch


def split_bulk(body: bytes, by_line: bool) -> list[msgspec.Raw] | list[bytes]:
    """The events of a bulk body: {"events": [...]}, a bare array, or one a line. Raises Problem
    400."""
    raws: list[msgspec.Raw] | list[bytes]
    if by_line:
        raws = [line for line in body.split(b"\n") if line.strip()]
    else:
        try:
            if body.lstrip()[:1] == b"[":
                raws = _raw_list.decode(body)
            else:
                raws = _envelope.decode(body).events
        except (msgspec.DecodeError, RecursionError) as error:
            raise Problem(400, BULK_FORMS, [decode_error(error, Envelope)]) from error
    if not 1 <= len(raws) <= MAX_EVENTS:
        raise Problem(400, f"a batch has 1 to {MAX_EVENTS:,} events, not {len(raws):,}")
    return raws


def utc_now() -> datetime:
    return datetime.now(UTC)
