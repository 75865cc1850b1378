"""POST /batch/, /capture/, ...: what PostHog's SDKs send, unmodified.

The key is `api_key` in the body, which may be gzip, or a bearer token. They drop a batch on 4xx, so
an event that cannot be stored is kept among the rejected ones and the answer is 200 all the same.
They keep an event's uuid and time over retries, so a retry is the same event. There are no feature
flags here: questions about them are answered with none, without a key.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from litestar import Response, get, post
from litestar.params import FromPath

from pgtally.database import Database
from pgtally.http.intake import KeyInBody, Taken, read_messages, store_messages
from pgtally.http.operation import OPEN, Operation
from pgtally.http.passage import Db, Incoming
from pgtally.http.replies import respond
from pgtally.ingest import messages
from pgtally.ingest.events import MAX_ERRORS, Batch
from pgtally.ingest.messages import Unmappable
from pgtally.problems import Problem

MAX_BODY_BYTES = 20_971_520  # 20 MiB, also inflated
SUCCESS = {"status": 1}
NO_FLAGS: dict[str, Any] = {
    "flags": {}, "featureFlags": {}, "featureFlagPayloads": {}, "errorsWhileComputingFlags": False,
}  # fmt: skip
NO_DEFINITIONS: dict[str, Any] = {"flags": [], "group_type_mapping": {}, "cohorts": {}}
EVENT = {
    "event": "Paid", "distinct_id": "u1", "uuid": "01941f29-7c00-7aaa-8aaa-aaaaaaaaaaab",
    "timestamp": "2025-01-01T12:00:00Z", "properties": {"revenue": 12.5},
}  # fmt: skip


def add_message(batch: Batch, message: Any, index: int, tenant: UUID, now: datetime) -> None:
    """Maps an event. Raises Unmappable."""
    if not isinstance(message, dict):
        raise Unmappable("expected an object")
    event_type = messages.text(message.get("event"), "event")
    if event_type is None:
        raise Unmappable("event: required")
    properties = messages.an_object(message, "properties")
    data = dict(properties)
    # Clients in browsers repeat these, the key too, among the properties.
    named = data.pop("distinct_id", None)
    if isinstance(data.get("token"), str) and data["token"].startswith("pgt_"):
        del data["token"]
    session = data.pop("$session_id", None)
    for name in ("$set", "$set_once"):
        if message.get(name) is not None:
            data.setdefault(name, message[name])
    actor = messages.text(message.get("distinct_id"), "distinct_id")
    actor = actor or messages.text(named, "properties.distinct_id")
    if actor is None:
        raise Unmappable("distinct_id: required")
    told = {k: v for k, v in message.items() if k not in ("sent_at", "api_key")}
    event_id = messages.event_id(message.get("uuid"), tenant, told)
    batch.add(
        index, messages.time(message, ("timestamp",), event_id, now), event_id, event_type,
        messages.value(properties), actor,
        messages.text(message.get("session_id"), "session_id")
        or messages.text(session, "properties.$session_id"),
        messages.encode_data(data, "properties"),
    )  # fmt: skip


class PostHogDoor(KeyInBody):
    """The Python SDK sends batches of up to 6 MB with the key at their end."""

    security = ("apiKey", "bearer")
    field = "api_key"
    max_keyless_bytes = 6_291_456


DOOR = PostHogDoor()


async def _take(
    request: Incoming, db: Database, most: int | None = None
) -> tuple[list[Any], Taken]:
    decoded = await read_messages(request, MAX_BODY_BYTES, DOOR)
    found = decoded
    if isinstance(decoded, dict):
        found = decoded.get("batch", [decoded])
    if not isinstance(found, list):
        raise Problem(400, "expected an event, an array of events, or an object with a batch")
    if most is not None and len(found) > most:
        raise Problem(413, f"a batch has at most {most:,} events here")
    return found, await store_messages(request, db, "posthog", found, add_message)


def _operation_id(_: Any, method: Any, path: list[Any]) -> str:
    words = [part for one in path for part in str(one).split("_") if part.isalnum()]
    return "posthog" + "".join(map(str.capitalize, words))


BATCH = Operation(
    scope="ingest", rate_class="bulk", door=DOOR, body=dict | list, example={"batch": [EVENT]}
)  # fmt: skip
SINGLE = Operation(scope="ingest", rate_class="ingest", door=DOOR, body=dict | list, example=EVENT)


@post(
    ["/batch", "/i/v0/ai/batch"],
    status_code=200,
    operation=BATCH,
    request_max_body_size=MAX_BODY_BYTES,
    operation_id=_operation_id,
    summary="A batch of PostHog events",
)
async def posthog_batch(request: Incoming, db: Db) -> Response[dict[str, int]]:
    """200 unless the body is no batch; events that cannot be stored are kept."""
    await _take(request, db)
    return respond(SUCCESS)


@post(
    ["/capture", "/e", "/i/v0/e", "/track", "/engage"],
    status_code=200,
    operation=SINGLE,
    request_max_body_size=MAX_BODY_BYTES,
    operation_id=_operation_id,
    summary="A PostHog event",
)
async def posthog_event(request: Incoming, db: Db) -> Response[dict[str, int]]:
    """One, or some; those that cannot be stored are kept."""
    await _take(request, db)
    return respond(SUCCESS)


@post(
    "/i/v1/analytics/events",
    status_code=200,
    operation=BATCH,
    request_max_body_size=MAX_BODY_BYTES,
    operation_id=_operation_id,
    summary="A batch of PostHog events, with a result for each",
)
async def posthog_events(request: Incoming, db: Db) -> Response[dict[str, Any]]:
    """`results` names by uuid what was stored (`ok`) and what was kept instead (`drop`)."""
    found, taken = await _take(request, db, MAX_ERRORS)
    reasons = {error.index: error.detail for error in taken.errors}
    results = {}
    for index, message in enumerate(found):
        if isinstance(message, dict) and isinstance(message.get("uuid"), str):
            reason = reasons.get(index)
            results[message["uuid"]] = (
                {"result": "drop", "details": reason} if reason else {"result": "ok"}
            )
    return respond({"results": results})


@post(
    ["/flags", "/decide"],
    status_code=200,
    operation=OPEN,
    operation_id=_operation_id,
    summary="PostHog's feature flags",
)
async def posthog_flags() -> Response[dict[str, Any]]:
    """There are none."""
    return respond(NO_FLAGS)


@get(
    ["/flags/definitions", "/api/feature_flag/local_evaluation"],
    operation=OPEN,
    operation_id=_operation_id,
    summary="PostHog's feature flags, for evaluation by the client",
)
async def posthog_definitions() -> Response[dict[str, Any]]:
    """There are none."""
    return respond(NO_DEFINITIONS)


@get(
    "/array/{token:str}/config",
    operation=OPEN,
    operation_id=_operation_id,
    summary="PostHog's remote configuration",
)
async def posthog_config(token: FromPath[str]) -> Response[dict[str, Any]]:
    """Nothing is configured, whatever the token."""
    return respond({"supportedCompression": ["gzip"], "hasFeatureFlags": False})


@get(
    "/api/projects/{project:str}/feature_flags/{flag:str}/remote_config",
    operation=OPEN,
    operation_id=_operation_id,
    summary="The payload of a PostHog feature flag",
)
async def posthog_payload(project: FromPath[str], flag: FromPath[str]) -> Response[None]:
    """There is none."""
    return respond(None)


TITLE = "PostHog"
HANDLERS = [
    posthog_batch, posthog_event, posthog_events, posthog_flags, posthog_definitions,
    posthog_config, posthog_payload,
]  # fmt: skip
