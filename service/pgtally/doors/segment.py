"""POST /v1/...: what Segment's and RudderStack's clients and analytics.js send, unmodified.

They retry what is not exactly 200 for minutes, so an event that cannot be stored is kept among the
rejected ones and the answer is 200 all the same. They keep a message's id and time over retries, so
a retry is the same event.
"""

import base64
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

import msgspec
from litestar import Response, post

from pgtally.database import Database
from pgtally.http.intake import KeyInBody, read_messages, store_messages
from pgtally.http.operation import OPEN, Operation, ProblemBody, unauthorized
from pgtally.http.passage import Db, Incoming
from pgtally.http.replies import respond
from pgtally.ingest import messages
from pgtally.ingest.events import Batch
from pgtally.ingest.messages import Unmappable
from pgtally.problems import Problem

MAX_BODY_BYTES = 25_165_824  # 24 MiB, also inflated
SUCCESS = {"success": True}
TYPES = {
    "t": "track", "i": "identify", "p": "page", "s": "screen", "g": "group", "a": "alias",
}  # fmt: skip
EXAMPLE = {
    "batch": [
        {"type": "track", "event": "Paid", "userId": "u1", "messageId": "m1",
         "timestamp": "2025-01-01T12:00:00Z", "properties": {"revenue": 12.5}}
    ]
}  # fmt: skip


def add_message(
    batch: Batch, message: Any, index: int, tenant: UUID, now: datetime, kind: str | None = None
) -> None:
    """Maps a message, of this kind or of the one that it names. Raises Unmappable."""
    if not isinstance(message, dict):
        raise Unmappable("expected an object")
    kind = kind or message.get("type")
    if kind not in TYPES.values():
        raise Unmappable("type: expected track, identify, page, screen, group or alias")
    event_type = f"${kind}"
    if kind == "track":
        event_type = messages.text(message.get("event"), "event") or ""
        if not event_type:
            raise Unmappable("event: required")
    actor = messages.text(message.get("userId"), "userId")
    anonymous = messages.text(message.get("anonymousId"), "anonymousId")
    if actor is None and anonymous is None:
        raise Unmappable("userId or anonymousId: required")
    context = dict(messages.an_object(message, "context"))
    session = messages.text(context.pop("sessionId", None), "context.sessionId")
    properties = messages.an_object(message, "properties")
    data = dict(properties)
    if kind in ("identify", "group"):
        # RudderStack's clients put them into the context.
        data |= messages.an_object(message, "traits") or messages.an_object(
            {"traits": context.pop("traits", None)}, "traits"
        )
    for name in ("name", "category", "groupId", "previousId"):
        if message.get(name) is not None and name not in data:
            data[name] = message[name]
    if actor is not None and anonymous is not None:
        context["anonymousId"] = anonymous
    messages.put_apart(data, "context", context)
    told = {k: v for k, v in message.items() if k not in ("sentAt", "receivedAt", "writeKey")}
    event_id = messages.event_id(message.get("messageId"), tenant, told)
    occurred_at = messages.time(message, ("originalTimestamp", "timestamp"), event_id, now)
    batch.add(
        index, occurred_at, event_id, event_type, messages.value(properties), actor or anonymous,
        session, messages.encode_data(data, "properties"),
    )  # fmt: skip


class SegmentProblemBody(ProblemBody, omit_defaults=True):
    """With what these clients look for: without, some take an error for a broken network and try
    again for minutes."""

    message: str = ""


class SegmentDoor(KeyInBody):
    """The key is the user name of Basic, or a bearer token, or writeKey in the body."""

    security = ("apiKey", "bearer", "basic")
    field = "writeKey"

    def key_of_authorization(self, scheme: str, token: str) -> str:
        if scheme != "basic":
            return super().key_of_authorization(scheme, token)
        try:
            return base64.b64decode(token, validate=True).decode().partition(":")[0]
        except ValueError:
            raise unauthorized("the Authorization header is not valid") from None

    def problem_body(self, body: ProblemBody) -> msgspec.Struct:
        fields = msgspec.structs.asdict(body)
        fields["code"] = body.code or body.title.lower().replace(" ", "_")
        return SegmentProblemBody(**fields, message=body.detail)


DOOR = SegmentDoor()


async def _take(request: Incoming, db: Database, kind: str | None) -> Response[Any]:
    decoded = await read_messages(request, MAX_BODY_BYTES, DOOR)
    if not isinstance(decoded, dict):
        raise Problem(400, "expected an object")
    batch = decoded.get("batch") if kind is None else [decoded]
    if not isinstance(batch, list):
        raise Problem(400, "expected an object with a batch of messages")
    await store_messages(request, db, "segment", batch, partial(add_message, kind=kind))
    return respond(SUCCESS)


def _operation_id(_: Any, __: Any, path: list[Any]) -> str:
    return f"segment{str(path[-1]).capitalize()}"


BATCH = Operation(scope="ingest", rate_class="bulk", door=DOOR, body=dict, example=EXAMPLE)
MESSAGE = msgspec.structs.replace(BATCH, rate_class="ingest", example=EXAMPLE["batch"][0])


@post(
    ["/v1/batch", "/v1/b", "/v1/import"],
    status_code=200,
    operation=BATCH,
    request_max_body_size=MAX_BODY_BYTES,
    operation_id=_operation_id,
    summary="A batch of Segment messages",
)
async def segment_batch(request: Incoming, db: Db) -> Response[dict[str, bool]]:
    """Exactly 200 unless the body is no batch; messages that cannot be stored are kept."""
    return await _take(request, db, None)


@post(
    [f"/v1/{path}" for pair in TYPES.items() for path in pair],
    status_code=200,
    operation=MESSAGE,
    request_max_body_size=MAX_BODY_BYTES,
    operation_id=_operation_id,
    summary="One Segment message",
)
async def segment_message(request: Incoming, db: Db) -> Response[dict[str, bool]]:
    """track, identify, page, screen, group or alias; the path says which."""
    name = request.url.path.rpartition("/")[2]
    return await _take(request, db, TYPES.get(name, name))


@post(
    "/v1/m",
    status_code=200,
    operation=OPEN,
    summary="The clients' own metrics",
)
async def segment_metrics() -> Response[dict[str, bool]]:
    """Discarded."""
    return respond(SUCCESS)


TITLE = "Segment"
HANDLERS = [segment_batch, segment_message, segment_metrics]
