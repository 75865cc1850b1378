"""GET /pgtally.js, and POST /browser, to which it sends page views and a page's own events.

The key is in the page, so everybody has it: it should be bound to the page's origin, which browsers
tell truly and others do not. Nothing else is a secret, and the answer is empty. An event gets the
time of its receipt, since clocks of browsers are wrong, and is sent once.
"""

from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from litestar import Response, get, post

from pgtally.http.intake import KeyInBody, read_messages, store_messages
from pgtally.http.operation import OPEN, Operation
from pgtally.http.passage import Db, Incoming
from pgtally.ingest import messages
from pgtally.ingest.events import Batch
from pgtally.ingest.messages import Unmappable
from pgtally.ingest.uuid7 import uuid7
from pgtally.problems import Problem

SCRIPT = Path(__file__).with_suffix(".js").read_bytes()
# A page may be of any origin, and caches keep the script for an hour.
SCRIPT_HEADERS = {
    "Cache-Control": "public, max-age=3600", "Cross-Origin-Resource-Policy": "cross-origin",
}  # fmt: skip
MAX_EVENTS = 100
MAX_DATA_BYTES = 16_384
FIELDS = {"type", "actorId", "sessionId", "value", "data"}
EXAMPLE = {"events": [{"type": "pageview", "sessionId": "s1", "data": {"path": "/prices"}}]}


def add_message(batch: Batch, message: Any, index: int, tenant: UUID, now: datetime) -> None:
    """Maps an event. Raises Unmappable."""
    if not isinstance(message, dict):
        raise Unmappable("expected an object")
    if unknown := sorted(message.keys() - FIELDS):
        raise Unmappable(f"unknown field {unknown[0][:50]}; there are {', '.join(sorted(FIELDS))}")
    event_type = messages.text(message.get("type"), "type")
    if event_type is None:
        raise Unmappable("type: required")
    if message.get("value") is not None and messages.value(message) is None:
        raise Unmappable("value: expected a number from -1e30 to 1e30")
    batch.add(
        index, now, uuid7(now), event_type, messages.value(message),
        messages.text(message.get("actorId"), "actorId"),
        messages.text(message.get("sessionId"), "sessionId"),
        messages.encode_data(messages.an_object(message, "data"), "data", MAX_DATA_BYTES),
    )  # fmt: skip


class BrowserDoor(KeyInBody):
    """The key is in the body: a header would cost a preflight, and is not to be had when a page
    closes; an address would be written to logs."""

    security = ("apiKey", "bearer")


DOOR = BrowserDoor()


@get(
    "/pgtally.js",
    operation=OPEN,
    include_in_schema=False,
    sync_to_thread=False,
)
def browser_script() -> Response[bytes]:
    """The script for pages."""
    return Response(SCRIPT, media_type="text/javascript", headers=SCRIPT_HEADERS)


@post(
    "/browser",
    status_code=204,
    operation=Operation(
        scope="ingest", rate_class="ingest", door=DOOR, body=dict, example=EXAMPLE,
    ),
    request_max_body_size=DOOR.max_keyless_bytes,
    summary="Store events of a page",
)  # fmt: skip
async def store_browser_events(request: Incoming, db: Db) -> Response[None]:
    """What `/pgtally.js` sends: up to 100 events, which get the time of their receipt. The key is
    `key` in the body. Events that cannot be stored are kept with their reason."""
    decoded = await read_messages(request, DOOR.max_keyless_bytes, DOOR)
    events = decoded.get("events") if isinstance(decoded, dict) else None
    if not isinstance(events, list) or len(events) > MAX_EVENTS:
        raise Problem(400, f"expected an object with at most {MAX_EVENTS} events")
    await store_messages(request, db, "browser", events, add_message)
    return Response(None, status_code=204)


TITLE = "Browser"
HANDLERS = [browser_script, store_browser_events]
