"""What the doors share over HTTP: the key in the body, the body, what it is charged, and storing
messages so that none costs the others their fate."""

import hashlib
import re
from typing import Any
from uuid import UUID

import msgspec

from pgtally import formats
from pgtally.database import Database
from pgtally.http.body import GZIP, inflate, receive_body
from pgtally.http.operation import Door, unauthorized
from pgtally.http.passage import Incoming, caller_of, passage_of
from pgtally.ingest import store
from pgtally.ingest.events import Batch, utc_now
from pgtally.ingest.messages import Mapper, decode, map_all
from pgtally.problems import FieldError
from pgtally.threads import OFF_LOOP_BYTES, off_loop

CHUNK = 5_000


class KeyInBody(Door):
    """The key is in a header as everywhere, or a field of the body's outermost object: browsers can
    set no header when a page closes, and some clients set none at all."""

    max_keyless_bytes = 65_536
    takes_public_keys = True
    field = "key"

    _keyed: Any
    _named: re.Pattern[bytes]

    def __init_subclass__(cls) -> None:
        # Only looks for the one field, whatever else there is.
        fields = [("key", str, msgspec.field(default="", name=cls.field))]
        cls._keyed = msgspec.json.Decoder(msgspec.defstruct("Keyed", fields))
        # Where the body is not JSON for a strict decoder, since an event of it holds NaN.
        cls._named = re.compile(rb'"%s"\s{0,9}:\s{0,9}"(pgt_[0-9a-f_]{83})"' % cls.field.encode())

    def key_of_body(self, body: bytes) -> str:
        if body[:2] == GZIP:
            body = inflate(body, self.max_keyless_bytes)
        try:
            return str(self._keyed.decode(body).key)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            # It is JSON, but no object.
            named = not isinstance(error, msgspec.ValidationError) and self._named.findall(body)
            if named:
                return str(named[-1].decode())
            raise unauthorized(f"no API key: send it in a header, or as {self.field}") from None


class Taken(msgspec.Struct):
    """What became of messages; errors by the index that they came with."""

    accepted: int = 0
    duplicates: int = 0
    conflicts: int = 0
    rejected: int = 0
    errors: list[FieldError] = []


async def read_messages(request: Incoming, max_bytes: int, door: KeyInBody) -> Any:
    """The decoded body, charged by its size. Content-Type and Content-Encoding lie (gzip labelled
    as a form, JSON as plain text), so they are not asked. Raises Problem."""
    body = await receive_body(request)
    if body[:2] == GZIP:
        body = await off_loop(len(body) * 16, inflate, body, max_bytes)
    passage = passage_of(request.scope)
    await passage.charge("bytes", len(body))
    decoded = await off_loop(len(body), decode, body)
    key = decoded.get(door.field) if isinstance(decoded, dict) else None
    if key != passage.key and (key or not door.key_of_headers(passage.received)):
        raise unauthorized(f"{door.field} in the body is not the key that the request came with")
    return decoded


async def store_messages(
    request: Incoming,
    db: Database,
    source: str,
    messages: list[Any],
    mapper: Mapper,
    once: bool = False,
) -> Taken:
    """Charges and stores messages; those that cannot be stored are kept among the rejected events,
    as `source`. `once` has the same messages, sent again within a week, counted as duplicates also
    where they carry no time. Raises Problem."""
    tenant = caller_of(request).tenant
    await passage_of(request.scope).charge("events", len(messages))
    taken = Taken()
    now = utc_now()
    for start in range(0, len(messages), CHUNK):
        # Always in a thread: how large the messages are is not known any more.
        chunk = messages[start : start + CHUNK]
        batch, mapped = await off_loop(OFF_LOOP_BYTES + 1, map_all, chunk, mapper, tenant, now)
        options = store.Options(lenient=True)
        if once and any(at is now for at in batch.occurred_at):
            ids = hashlib.sha256(b"".join(one.bytes for one in batch.event_id))
            options = store.Options(True, False, f"{source}:{ids.hexdigest()}", ids.digest())
        outcome = await _store(db, tenant, source, chunk, batch, mapped, options)
        left = msgspec.json.decode(outcome.response, type=store.Left)
        if outcome.replayed:
            taken.duplicates += outcome.accepted
        else:
            taken.accepted += outcome.accepted
        taken.duplicates += outcome.duplicates
        taken.conflicts += outcome.conflicts
        taken.rejected += left.rejected
        for error in left.errors:
            error.index = (error.index or 0) + start
        taken.errors += left.errors
    return taken


async def _store(
    db: Database,
    tenant: UUID,
    source: str,
    chunk: list[Any],
    batch: Batch,
    mapped: dict[int, str],
    options: store.Options,
) -> store.Outcome:
    def rejected(by_index: dict[int, list[FieldError]]) -> list[store.Rejected]:
        return [
            store.Rejected(
                source,
                mapped.get(index) or formats.as_text(formats.encode(chunk[index])),
                errors,
                index in mapped,
            )
            for index, errors in by_index.items()
        ]

    async with db.writer(tenant):
        return await store.store_batch(db, tenant, batch, options, rejected)
