"""Imports and exports: of events, for `pgtally import` and `pgtally export`, and of whole tenants.

An import may be run again from the start, or from any line: events keep their ids, and a line
without one gets an id made of its number and content, so nothing is stored twice.
"""

import contextlib
import csv
import gzip
import hashlib
import io
import itertools
import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, BinaryIO, Literal
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

import msgspec
import psycopg

from pgtally.cli.load import full_weeks, make_partitions
from pgtally.doors import segment
from pgtally.endpoints import tenants
from pgtally.endpoints.meters import LIST as LIST_METERS
from pgtally.endpoints.meters import Meter, NewMeter, definition_of
from pgtally.endpoints.raw_events import FIRST, PAGE, RawEvent, events_of
from pgtally.formats import csv_lines, encode
from pgtally.formats import lines as ndjson_lines
from pgtally.ingest.events import MAX_DATA_BYTES, Batch, Event, decode_events, utc_now
from pgtally.ingest.messages import MAX_EVENT_BYTES, Unmappable, decode
from pgtally.ingest.store import INGEST
from pgtally.problems import FieldError, Problem, of_database_error

# "copy" is NDJSON of `pgtally tenant export`.
Format = Literal["ndjson", "csv", "segment", "copy"]
LINES = 5_000
RECONNECT_SECONDS = 60
# Begins a line of a CSV file that is no event, and is followed by the reason.
NO_EVENT = b"csv: "
FIELDS = ("id", "type", "occurredAt", "receivedAt", "actorId", "sessionId", "value", "data")


class ImportedEvent(Event, forbid_unknown_fields=True, rename="camel"):
    """An event as it is exported: when it was received is not kept."""

    received_at: msgspec.Raw = msgspec.Raw(b"null")


class TenantCopy(msgspec.Struct, rename="camel"):
    """The first line of a file that holds a whole tenant; then come its events."""

    # The version of the format.
    pgtally_tenant: Literal[1]
    settings: tenants.Tenant
    # What they count, not what they have counted: that follows from the events.
    meters: list[NewMeter] = []


class NoColumn(Exception):
    """A file lacks a column that it was said to have."""


class BadLine(msgspec.Struct):
    """A line that is no event, and why."""

    line: int
    detail: str
    content: bytes


class ImportResult(msgspec.Struct):
    """What an import did, and the last line that it has finished."""

    accepted: int = 0
    duplicates: int = 0
    bad: int = 0
    line: int = 0


_decoder = msgspec.json.Decoder(ImportedEvent)
# A number as JSON writes it: 007 and 1,5 are none.
_number = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_copy = msgspec.json.Decoder(TenantCopy)


def open_input(file: io.BufferedReader) -> BinaryIO:
    """The file, inflated if it is gzip."""
    if file.peek(2)[:2] == b"\x1f\x8b":
        return gzip.GzipFile(fileobj=file)  # type: ignore[return-value]
    return file


def guess_format(name: str) -> Format:
    """By the name of the file."""
    return "csv" if name.removesuffix(".gz").endswith(".csv") else "ndjson"


def _csv_lines(
    text: io.TextIOWrapper, zone: ZoneInfo | None, numbers: Collection[str]
) -> Iterator[tuple[int, bytes]]:
    """Rows as JSON events: columns that are no fields of an event become properties, numbers or
    else texts. Raises NoColumn for numbers that are not there."""
    reader = csv.reader(text)
    names = next(reader, [])
    if absent := [name for name in numbers if name not in names or name in FIELDS]:
        known = ", ".join(name for name in names if name not in FIELDS)
        raise NoColumn(f"no column {', '.join(absent)}; properties are {known}")
    while True:
        number = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield number, NO_EVENT + str(error).encode()
            continue
        event: dict[str, Any] = {}
        data: dict[str, Any] = {}
        wrong = ""
        for name, cell in zip(names, row, strict=False):
            if cell == "":
                continue
            if name in ("data", "value"):
                # What is no JSON stays a text, and is found wrong.
                event[name] = cell
                with contextlib.suppress(msgspec.DecodeError):
                    msgspec.json.decode(cell)
                    event[name] = msgspec.Raw(cell.encode())
            elif name in FIELDS:
                event[name] = cell
            elif name in numbers and not _number.fullmatch(cell):
                wrong = f"{name} is no number: {cell[:50]!r}"
            else:
                typed = msgspec.Raw(cell.encode()) if name in numbers else cell
                data[name.removeprefix("data.")] = typed
        if data and not isinstance(event.get("data"), str):
            with contextlib.suppress(msgspec.DecodeError):
                data |= msgspec.json.decode(bytes(event.get("data", b"{}")), type=dict[str, Any])
                event["data"] = data
        if zone is not None and "occurredAt" in event:
            with contextlib.suppress(ValueError):
                at = datetime.fromisoformat(event["occurredAt"])
                event["occurredAt"] = (at if at.tzinfo else at.replace(tzinfo=zone)).isoformat()
        yield number, NO_EVENT + wrong.encode() if wrong else encode(event)


def read_lines(
    file: BinaryIO, form: Format, zone: ZoneInfo | None, numbers: Collection[str] = ()
) -> Iterator[tuple[int, bytes]]:
    """The lines of a file with their numbers, empty ones left out; CSV rows as JSON, in which the
    columns `numbers` hold numbers."""
    if form == "csv":
        text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="replace", newline="")
        yield from _csv_lines(text, zone, numbers)
        text.detach()
        return
    for number, line in enumerate(file, 1):
        if stripped := line.strip():
            yield number, stripped


def read_copy(file: BinaryIO) -> tuple[TenantCopy, Iterator[tuple[int, bytes]]]:
    """The settings and meters of the tenant that a file holds, and the lines of its events. Raises
    msgspec.DecodeError for another file."""
    copy = _copy.decode(file.readline())
    return copy, ((number + 1, line) for number, line in read_lines(file, "ndjson", None))


def _decode(
    tenant: UUID, lines: Sequence[tuple[int, bytes]], form: Format
) -> tuple[Batch, list[FieldError]]:
    now = utc_now()
    if form == "segment":
        batch = Batch()
        for index, (_, line) in enumerate(lines):
            try:
                segment.add_message(batch, decode(line), index, tenant, now)
            except Unmappable as error:
                batch.errors.append(FieldError(str(error), index=index))
            except Problem as problem:
                batch.errors.append(FieldError(problem.detail, index=index))
        return batch, batch.errors

    def make_id(index: int) -> UUID:
        number, line = lines[index]
        return uuid5(tenant, f"{number} {hashlib.sha256(line).hexdigest()}")

    # The copy of a tenant holds what any door took.
    max_data_bytes = MAX_EVENT_BYTES if form == "copy" else MAX_DATA_BYTES
    batch = decode_events([line for _, line in lines], now, _decoder, make_id, max_data_bytes)
    for one in batch.errors:
        if (line := lines[one.index or 0][1]).startswith(NO_EVENT):
            one.detail = line.decode()
    for place, index in enumerate(batch.index):
        # The decoder gives an event without a time that of now, which would change with each run.
        if batch.occurred_at[place] is now:
            batch.errors.append(FieldError("required", pointer="/occurredAt", index=index))
    refused = {error.index for error in batch.errors if error.pointer == "/occurredAt"}
    return batch.without(refused), batch.errors


def _store(
    connect: Callable[[], psycopg.Connection[Any]],
    connection: psycopg.Connection[Any],
    tenant: UUID,
    batch: Batch,
    errors: list[FieldError],
) -> tuple[psycopg.Connection[Any], int, int]:
    """Stores a batch, without what the database refuses; reconnects while it is away."""
    deadline = time.monotonic() + RECONNECT_SECONDS
    while batch.index:
        try:
            make_partitions(connection, full_weeks(batch.occurred_at))
            row = connection.execute(
                INGEST, {**batch.arguments(), "tenant": tenant}, binary=True
            ).fetchone()
            return connection, *(row or (0, 0))[:2]
        except psycopg.Error as error:
            problem = of_database_error(error)
            refused = {batch.index[e.index]: e for e in problem.errors if e.index is not None}
            if refused:
                errors += [
                    FieldError(e.detail, pointer=e.pointer, index=index)
                    for index, e in refused.items()
                ]
                batch = batch.without(set(refused))
            elif problem.status == 503 and time.monotonic() < deadline:
                time.sleep(1)
                with contextlib.suppress(psycopg.OperationalError):
                    connection.close()
                    connection = connect()
            else:
                raise
    return connection, 0, 0


def import_events(
    connect: Callable[[], psycopg.Connection[Any]],
    tenant: UUID,
    lines: Iterable[tuple[int, bytes]],
    form: Format,
    from_line: int,
    bad: Callable[[BadLine], None],
    result: ImportResult,
    progress: Callable[[ImportResult], None],
) -> None:
    """Stores the events of a file, 5,000 lines a transaction; keeps `result` up to date."""
    connection = connect()
    numbered = (one for one in lines if one[0] >= from_line)
    while chunk := list(itertools.islice(numbered, LINES)):
        batch, errors = _decode(tenant, chunk, form)
        connection, accepted, duplicates = _store(connect, connection, tenant, batch, errors)
        result.accepted += accepted
        result.duplicates += duplicates
        by_index: dict[int, list[str]] = {}
        for error in errors:
            text = f"{error.pointer or ''} {error.detail}".strip()
            by_index.setdefault(error.index or 0, []).append(text)
        for index, texts in sorted(by_index.items()):
            result.bad += 1
            bad(BadLine(chunk[index][0], "; ".join(texts), chunk[index][1]))
        result.line = chunk[-1][0]
        progress(result)
    connection.close()


def export_events(
    connection: psycopg.Connection[Any],
    tenant: UUID,
    start: str,
    end: str,
    zone: str,
    write: Callable[[bytes], object],
    form: Format,
) -> int:
    """Writes the raw events of a range, oldest first, of one snapshot; returns how many."""
    if form == "csv":
        write(csv_lines([], RawEvent, header=True))
    with connection.transaction():
        connection.execute("set transaction isolation level repeatable read read only")
        return _export(connection, tenant, start, end, zone, write, form)


def export_tenant(
    connection: psycopg.Connection[Any], tenant: UUID, write: Callable[[bytes], object]
) -> tuple[tenants.Tenant, int]:
    """Writes a tenant's settings, its meters and all its raw events, of one snapshot; returns the
    settings and how many events."""
    with connection.transaction():
        connection.execute("set transaction isolation level repeatable read read only")
        parameters = {"after": "", "limit": 1, "tenant": tenant}
        (row,) = connection.execute(tenants.LIST, parameters, binary=True).fetchall()
        settings = tenants.Tenant(*row)
        listed = connection.execute(LIST_METERS, {"tenant": tenant, "name": ""}).fetchall()
        # The newest version of each; it comes first.
        newest = {row[0]: Meter(*row) for row in reversed(listed)}
        defined = [definition_of(meter) for _, meter in sorted(newest.items())]
        write(ndjson_lines([TenantCopy(1, settings, defined)]))
        everything = ("-infinity", "infinity", "")
        return settings, _export(connection, tenant, *everything, write, "ndjson")


def _export(
    connection: psycopg.Connection[Any],
    tenant: UUID,
    start: str,
    end: str,
    zone: str,
    write: Callable[[bytes], object],
    form: Format,
) -> int:
    count = 0
    parameters: dict[str, Any] = {
        "tenant": tenant,
        "from": start,
        "to": end,
        "time_zone": zone,
        "actor": "",
        "after_at": FIRST[0],
        "after_id": FIRST[1],
        "limit": 5_000,
        "request": "export",
    }
    while True:
        rows = connection.execute(PAGE, parameters, binary=True).fetchall()
        events, is_full = events_of(rows)
        if form == "csv":
            write(csv_lines(events, RawEvent, header=False))
        else:
            write(ndjson_lines(events))
        count += len(rows)
        if not is_full:
            return count
        parameters |= {"after_at": rows[-1][2], "after_id": rows[-1][0]}
