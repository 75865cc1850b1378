"""JSON in which numbers are numbers, also exact decimals; lists also as CSV or NDJSON."""

import csv
import io
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

CSV = "text/csv"
JSON = "application/json"
NDJSON = "application/x-ndjson"
# The schema of an object that may hold anything.
ANY_OBJECT = {"type": "object", "additionalProperties": True}
_encoder = msgspec.json.Encoder(decimal_format="number")
_canonical = msgspec.json.Encoder(decimal_format="number", order="sorted")


def encode(value: object) -> bytes:
    """A value as JSON."""
    return _encoder.encode(value)


def encode_sorted(value: object) -> bytes:
    """The same value gives the same bytes, whatever the order of its keys."""
    return _canonical.encode(value)


def keep(raw: bytes) -> bytes:
    """What is JSON already needs no encoding: for psycopg's Jsonb."""
    return raw


def as_text(raw: bytes) -> str:
    """Bytes as a text that can be stored: what is not UTF-8, and NUL, become U+FFFD."""
    return raw.decode(errors="replace").replace("\0", "\ufffd")


def all_text(value: Any) -> str:
    """Every text within a decoded value, keys included, in one."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return "".join(value) + "".join(map(all_text, value.values()))
    if isinstance(value, list):
        return "".join(map(all_text, value))
    return ""


def lines(rows: Sequence[Any]) -> bytes:
    """NDJSON: a line each."""
    return _encoder.encode_lines(rows)


def csv_lines(
    rows: Sequence[msgspec.Struct], shape: type[msgspec.Struct], header: bool = True
) -> bytes:
    """RFC 4180: a header, an empty field for null, objects as JSON."""
    fields = msgspec.structs.fields(shape)
    text = io.StringIO()
    writer = csv.writer(text)
    if header:
        writer.writerow([field.encode_name for field in fields])
    for row in rows:
        writer.writerow([_cell(getattr(row, field.name)) for field in fields])
    return text.getvalue().encode()


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, datetime):
        return value.isoformat()
    encoded = _encoder.encode(value).decode()
    # A date or an id is a JSON string; its quotes are not part of it.
    return encoded[1:-1] if encoded.startswith('"') else encoded
