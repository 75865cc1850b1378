"""The body of a request: read, inflated, decoded strictly, all within bounds."""

import zlib
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from litestar import Request
from litestar.types import Receive

from pgtally.formats import JSON, NDJSON, all_text
from pgtally.http.passage import passage_of
from pgtally.problems import FieldError, Problem
from pgtally.threads import off_loop
from pgtally.wording import decode_error

NDJSON_TYPES = (NDJSON, "application/ndjson", "application/jsonl")
# A body up to this may wait for its key without being counted.
SMALL_BYTES = 65_536
GZIP = b"\x1f\x8b"
Shape = TypeVar("Shape", bound=msgspec.Struct)


def media_type_of(request: Request[Any, Any, Any]) -> str:
    """The content type of a request without its parameters; empty if it names none."""
    received = passage_of(request.scope).received
    return received.get("content-type", "").partition(";")[0].strip().lower()


async def receive_all(
    receive: Receive, max_bytes: int, refusal: str, hold: Callable[[int], None] | None = None
) -> bytes:
    """What comes, until it ends; tells `hold` of every part beyond the first 64 KB. Raises Problem
    413 with this refusal for more than max_bytes."""
    parts = []
    left = max_bytes
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            break
        parts.append(message["body"])
        more = message["more_body"]
        left -= len(parts[-1])
        if left < 0:
            raise Problem(413, refusal)
        if hold is not None and max_bytes - left > SMALL_BYTES:
            hold(len(parts[-1]))
    return b"".join(parts)


async def receive_body(request: Request[Any, Any, Any]) -> bytes:
    """The body as it was sent. Raises Problem 413 where it has more than its handler takes, before
    it has come if its length is told."""
    most = request.route_handler.resolve_request_max_body_size() or 0
    refusal = f"the body has more than {most:,} bytes"
    if int(passage_of(request.scope).received.get("content-length", 0)) > most:
        raise Problem(413, refusal)
    return await receive_all(request.receive, most, refusal)


async def read_body(request: Request[Any, Any, Any]) -> bytes:
    """The body, inflated if it is gzip, valid UTF-8. Raises Problem 400, 413 or 415."""
    media_type = media_type_of(request)
    if media_type not in ("", JSON, *NDJSON_TYPES):
        raise Problem(415, f"content type {media_type}; use application/json or x-ndjson")
    received = passage_of(request.scope).received
    encoding = received.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip"):
        raise Problem(415, f"content encoding {encoding}; use gzip or none")
    body = await receive_body(request)
    if encoding == "gzip":
        most: int = request.app.state.max_body_bytes
        # Gzip makes up to a thousand times as much of it.
        body = await off_loop(len(body) * 16, inflate, body, most)
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise Problem(400, f"the body is not UTF-8 at byte {error.start}") from error
    return body


async def read_struct(
    request: Request[Any, Any, Any], decoder: msgspec.json.Decoder[Shape]
) -> Shape:
    """The body of a small request as a struct; an absent one counts as `{}`. Raises Problem."""
    body = await read_body(request) or b"{}"
    try:
        decoded = decoder.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Problem(
            400, "the body is not valid", [decode_error(error, decoder.type, True)]
        ) from error
    if b"\\u0000" in body and "\0" in all_text(msgspec.to_builtins(decoded)):
        raise Problem(400, "the body is not valid", [FieldError("holds a NUL character")])
    return decoded


def inflate(body: bytes, max_bytes: int) -> bytes:
    """The content of one gzip member, of at most max_bytes. Raises Problem 400 or 413."""
    stream = zlib.decompressobj(wbits=31)
    try:
        content = stream.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise Problem(400, "the body is not gzip") from error
    if len(content) > max_bytes or stream.unconsumed_tail:
        raise Problem(413, f"the body inflates to more than {max_bytes:,} bytes")
    if not stream.eof or stream.unused_data:
        raise Problem(400, "the gzip body is cut short or has more than one member")
    return content
