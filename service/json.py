"""JSON as pgtally writes it: numbers are numbers, also exact decimals."""

from typing import Any

import msgspec
from litestar import Response

_encoder = msgspec.json.Encoder(decimal_format="number")


def respond(body: object, status: int = 200) -> Response[Any]:
    """A JSON response. Handlers annotate the type of the body, for the documentation."""
    return Response(_encoder.encode(body), status_code=status, media_type="application/json")


def lines(rows: list[Any]) -> bytes:
    """NDJSON: a line each."""
    return _encoder.encode_lines(rows)
