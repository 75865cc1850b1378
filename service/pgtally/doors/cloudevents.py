"""POST /cloudevents: CloudEvents 1.0 over HTTP, in binary, structured and batched mode.

`source` and `id` together are the identity of an event, so one that is sent again is a duplicate.
The key is in a header, as for our own clients.
"""

import base64
import binascii
from datetime import datetime
from typing import Any
from urllib.parse import unquote
from uuid import UUID, uuid5

from litestar import Response, post

from pgtally import formats
from pgtally.endpoints.events import Receipt
from pgtally.http.body import inflate, media_type_of, receive_body
from pgtally.http.intake import store_messages
from pgtally.http.operation import Operation
from pgtally.http.passage import Db, Incoming, passage_of
from pgtally.http.replies import respond
from pgtally.ingest import messages
from pgtally.ingest.events import MAX_DATA_BYTES, MAX_ERRORS, MAX_EVENTS, Batch
from pgtally.ingest.messages import Unmappable
from pgtally.problems import FieldError, Problem
from pgtally.threads import off_loop

MAX_BODY_BYTES = 1_048_576
EVENT = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
# Attributes that have a place of their own in an event, or say how its data is written.
PLACED = {
    "specversion", "type", "subject", "time", "datacontenttype", "data", "data_base64",
}  # fmt: skip
EXAMPLE = {
    "specversion": "1.0", "id": "1", "source": "/shop", "type": "purchase", "subject": "user-17",
    "time": "2025-01-01T12:00:00Z", "data": {"value": 12.5, "plan": "pro"},
}  # fmt: skip


def _is_json(content_type: Any) -> bool:
    media_type = str(content_type or "").partition(";")[0].strip().lower()
    return media_type.endswith(("/json", "+json"))


def _properties(message: dict[str, Any]) -> dict[str, Any]:
    """The event's data as an object; what is none stays under its own name."""
    name = "data"
    data = message.get("data")
    if data is None and message.get("data_base64") is not None:
        name = "data_base64"
        data = message[name]
        if _is_json(message.get("datacontenttype")):
            try:
                data = messages.decode(base64.b64decode(data, validate=True))
            except (binascii.Error, TypeError, ValueError, Problem):
                raise Unmappable("data_base64: expected JSON in base64") from None
    if data is None:
        return {}
    return dict(data) if isinstance(data, dict) else {name: data}


def add_message(batch: Batch, message: Any, index: int, tenant: UUID, now: datetime) -> None:
    """Maps an event in its JSON form. Raises Unmappable."""
    if not isinstance(message, dict):
        raise Unmappable("expected an object")
    version = message.get("specversion")
    if not isinstance(version, str) or not version.startswith("1."):
        raise Unmappable("specversion: expected 1.0")
    for name in ("id", "source", "type"):
        if not isinstance(message.get(name), str) or not message[name]:
            raise Unmappable(f"{name}: expected a text that is not empty")
    identity = formats.encode([message["source"], message["id"]]).decode()
    data = _properties(message)
    value = messages.value(data)
    messages.put_apart(data, "cloudevent", {k: v for k, v in message.items() if k not in PLACED})
    batch.add(
        index, messages.time(message, ("time",), None, now), uuid5(tenant, identity),
        messages.text(message["type"], "type") or "", value,
        messages.text(message.get("subject"), "subject"), None,
        messages.encode_data(data, "data", MAX_DATA_BYTES),
    )  # fmt: skip


def _from_headers(request: Incoming, body: bytes) -> dict[str, Any]:
    """An event in binary mode in its JSON form."""
    message: dict[str, Any] = {
        name[3:]: unquote(text) for name, text in request.headers.items() if name[:3] == "ce-"
    }
    content_type = request.headers.get("content-type")
    message["datacontenttype"] = content_type
    if not body:
        return message
    if content_type is None or _is_json(content_type):
        message["data"] = messages.decode(body)
    elif media_type_of(request).startswith("text/"):
        message["data"] = formats.as_text(body)
    else:
        message["data_base64"] = base64.b64encode(body).decode()
    return message


def _messages(request: Incoming, body: bytes) -> list[Any]:
    """The events of a request. Raises Problem."""
    media_type = media_type_of(request)
    if "ce-id" in request.headers and not media_type.startswith("application/cloudevents"):
        return [_from_headers(request, body)]
    if media_type not in (EVENT, BATCH, formats.JSON):
        text = f"expected the headers of binary mode (ce-id, ...), or {EVENT} or {BATCH}"
        raise Problem(415, text)
    decoded = messages.decode(body)
    if media_type != EVENT and isinstance(decoded, list):
        if len(decoded) > MAX_EVENTS:
            raise Problem(400, f"a batch has at most {MAX_EVENTS:,} events")
        return decoded
    if media_type == BATCH:
        raise Problem(400, "a batch is an array of events")
    return [decoded]


@post(
    "/cloudevents",
    status_code=200,
    operation=Operation(
        scope="ingest", rate_class="ingest", body=dict | list, example=EXAMPLE,
        consumes=(EVENT, BATCH, formats.JSON),
    ),
    request_max_body_size=MAX_BODY_BYTES,
    summary="Store CloudEvents",
)  # fmt: skip
async def store_cloud_events(request: Incoming, db: Db) -> Response[Receipt]:
    """One in binary or structured mode, or a batch. What cannot be stored is kept with its reason:
    400 for one event, 200 with `errors` for a batch."""
    body = await receive_body(request)
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip"):
        raise Problem(415, f"content encoding {encoding}; use gzip or none")
    if encoding == "gzip":
        body = await off_loop(len(body) * 16, inflate, body, MAX_BODY_BYTES)
    await passage_of(request.scope).charge("bytes", len(body))
    found = await off_loop(len(body), _messages, request, body)
    taken = await store_messages(request, db, "cloudevents", found, add_message, once=True)
    errors = taken.errors[:MAX_ERRORS]
    if errors and media_type_of(request) != BATCH and len(found) == 1:
        raise Problem(
            400, "the event cannot be stored", [FieldError(e.detail, e.pointer) for e in errors]
        )
    return respond(
        Receipt(taken.accepted, taken.duplicates, taken.conflicts, taken.rejected, errors)
    )


TITLE = "CloudEvents"
HANDLERS = [store_cloud_events]
