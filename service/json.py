"""Bodies: JSON in which numbers are numbers, also exact decimals; lists also as CSV or NDJSON."""

import csv
import io
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from litestar import Request, Response

CSV = "text/csv"
JSON = "application/json"
NDJSON = "application/x-ndjson"
_encoder = msgspec.json.Encoder(decimal_format="number")
_canonical = msgspec.json.Encoder(decimal_format="number", order="sorted")


def encode(value: object) -> bytes:
    """A value as JSON."""
    return _encoder.encode(value)


def encode_sorted(value: object) -> bytes:
    """The same value gives the same bytes, whatever the order of its keys."""
    return _canonical.encode(value)


def respond(body: object, status: int = 200) -> Response[Any]:
    """A JSON response. Handlers annotate the type of the body, for the documentation."""
    return Response(_encoder.encode(body), status_code=status, media_type=JSON)


def respond_list(
    request: Request[Any, Any, Any],
    rows: Sequence[msgspec.Struct],
    shape: type[msgspec.Struct],
    body: object = None,
) -> Response[Any]:
    """A list in the form that Accept asks for: JSON, CSV or NDJSON. `body` is what JSON holds where
    that is more than the list."""
    wanted = request.accept.best_match([JSON, CSV, NDJSON], default=JSON)
    if wanted == CSV:
        content, media_type = csv_lines(rows, shape), f"{CSV}; charset=utf-8; header=present"
    elif wanted == NDJSON:
        content, media_type = lines(rows), NDJSON
    else:
        content, media_type = _encoder.encode(rows if body is None else body), JSON
    return Response(content, media_type=media_type, headers={"Vary": "Accept"})


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
