"""POST /v1/...: what Segment's and RudderStack's clients and analytics.js send, unmodified.

They retry what is not exactly 200 for minutes, so an event that cannot be stored is kept among the
rejected ones and the answer is 200 all the same.
"""

import base64
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from litestar import Response, post

from pgtally import formats
from pgtally.database import Database
from pgtally.http.body import OFF_LOOP_BYTES, inflate, off_loop, receive_body
from pgtally.http.operation import OPEN, Door, Operation, ProblemBody, unauthorized
from pgtally.http.passage import Db, Incoming, caller_of, passage_of
from pgtally.http.replies import respond
from pgtally.ingest import store
from pgtally.ingest.events import Batch, utc_now
from pgtally.ingest.segment import TYPES, Unmappable, add_message, decode
from pgtally.problems import FieldError, Problem

MAX_BODY_BYTES = 25_165_824  # 24 MiB, also inflated
MAX_KEYLESS_BYTES = 65_536
CHUNK = 5_000
SUCCESS = {"success": True}


class SegmentProblemBody(ProblemBody, omit_defaults=True):
    """With what these clients look for: without, some take an error for a broken network and try
    again for minutes."""

    message: str = ""


class _Keyed(msgspec.Struct):
    """The part of a body that names its key."""

    writeKey: str = ""


_keyed = msgspec.json.Decoder(_Keyed)


class SegmentDoor(Door):
    """The key is the user name of Basic, or a bearer token, or writeKey in the body: browsers can
    set no header when a page closes."""

    security = ("apiKey", "bearer", "basic")
    max_keyless_bytes = MAX_KEYLESS_BYTES

    def key_of_authorization(self, scheme: str, token: str) -> str:
        if scheme != "basic":
            return super().key_of_authorization(scheme, token)
        try:
            return base64.b64decode(token, validate=True).decode().partition(":")[0]
        except ValueError:
            raise unauthorized("the Authorization header is not valid") from None

    def key_of_body(self, body: bytes) -> str:
        try:
            return _keyed.decode(body).writeKey
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise unauthorized(
                "no API key: send it as Basic user name, Bearer, or writeKey of a body that is "
                "plain JSON"
            ) from None

    def problem_body(self, body: ProblemBody) -> msgspec.Struct:
        fields = msgspec.structs.asdict(body)
        fields["code"] = body.code or body.title.lower().replace(" ", "_")
        return SegmentProblemBody(**fields, message=body.detail)


DOOR = SegmentDoor()


def _messages(decoded: Any, kind: str | None) -> list[Any]:
    if kind is not None:
        return [decoded]
    messages = decoded.get("batch") if isinstance(decoded, dict) else None
    if not isinstance(messages, list):
        raise Problem(400, "expected an object with a batch of messages")
    return messages


def _native(batch: Batch, place: int) -> str:
    """An event in the form of POST /events, so that it can be replayed."""
    return formats.as_text(
        formats.encode(
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
        # Always in a thread: how large the messages are is not known any more.
        batch, mapped = await off_loop(OFF_LOOP_BYTES + 1, _map, chunk, kind, tenant, now)

        def rejected(
            by_index: dict[int, list[FieldError]],
            chunk: list[Any] = chunk,
            mapped: dict[int, str] = mapped,
        ) -> list[store.Rejected]:
            return [
                store.Rejected(
                    "segment",
                    mapped.get(index) or formats.as_text(formats.encode(chunk[index])),
                    errors,
                    index in mapped,
                )
                for index, errors in by_index.items()
            ]

        async with db.writer(tenant):
            await store.store_batch(db, tenant, batch, store.Options(lenient=True), rejected)


def _map(
    messages: list[Any], kind: str | None, tenant: UUID, now: datetime
) -> tuple[Batch, dict[int, str]]:
    """The messages as events, and those that became one in the form of POST /events."""
    batch = Batch()
    for index, message in enumerate(messages):
        try:
            add_message(batch, message, kind, tenant, index, now)
        except Unmappable as error:
            batch.errors.append(FieldError(str(error), index=index))
    return batch, {index: _native(batch, place) for place, index in enumerate(batch.index)}


async def _take(request: Incoming, db: Database, kind: str | None) -> Response[Any]:
    # Content-Type and Content-Encoding lie: gzip labelled as a form, JSON as plain text. Sniff.
    body = await receive_body(request)
    if body[:2] == b"\x1f\x8b":
        body = await off_loop(len(body) * 16, inflate, body, MAX_BODY_BYTES)
    passage = passage_of(request.scope)
    await passage.charge("bytes", len(body))
    decoded = await off_loop(len(body), decode, body)
    write_key = decoded.get("writeKey") if isinstance(decoded, dict) else None
    if write_key and write_key != passage.key:
        raise unauthorized("the header and the body's writeKey name different keys")
    messages = _messages(decoded, kind)
    await passage.charge("events", len(messages))
    await _store(db, caller_of(request).tenant, messages, kind)
    return respond(SUCCESS)


def _operation_id(_: Any, __: Any, path: list[Any]) -> str:
    return f"segment{str(path[-1]).capitalize()}"


BATCH = Operation(scope="ingest", rate_class="bulk", door=DOOR, body=dict)
MESSAGE = msgspec.structs.replace(BATCH, rate_class="ingest")


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
