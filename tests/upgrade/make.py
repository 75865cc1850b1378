"""Writes the dump of a release: `.venv/bin/python -m tests.upgrade.make`, once, when it is cut."""

import gzip
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import psycopg
from pgtally import __version__
from pgtally.dev.cluster import find_binaries

from bench.setup import scratch_database
from tests.brute_force import Event, ingest

FOLDER = Path(__file__).resolve().parent
ZONES = ("Asia/Tokyo", "America/New_York")
START = datetime(2026, 1, 30, tzinfo=UTC)


def events(zone: str) -> list[Event]:
    """Some hundred events over five weeks, the same each time."""
    return [
        Event(
            START + timedelta(hours=7 * n, minutes=n % 60),
            UUID(int=n + 1),
            f"type {n % 3}",
            n % 7 - 2 if n % 2 else None,
            f"actor {n % 11} of {zone}",
            (("plan", "pro" if n % 5 else "free"),),
        )
        for n in range(120)
    ]


def fill(connection: psycopg.Connection) -> None:
    """Two tenants: one folded and finalized with a late event waiting, one not yet folded."""
    for zone in ZONES:
        (tenant,) = connection.execute(
            "select tenant_id from api.tenant_create(%s, %s)", (zone, zone)
        ).fetchone()
        ingest(connection, tenant, events(zone))
        if zone == ZONES[0]:
            connection.execute("call tally.fold()")
            for period_type in ("day", "week", "month"):
                connection.execute("call tally.finalize(%s)", (period_type,))
            late = Event(START + timedelta(days=1), UUID(int=9999), "type 0")
            ingest(connection, tenant, [late])
        connection.execute(
            "select * from api.events_ingest_request(%s, '{}', '{}', '{}', '{}', '{}', '{}', '{}',"
            ' \'[{"source": "bulk", "event": "{}", "errors": [], "replayable": true}]\', \'key\')',
            (tenant,),
        )


def main() -> None:
    target = FOLDER / f"{__version__}.sql.gz"
    if target.exists():
        raise SystemExit(f"{target} exists: a release is dumped once")
    with scratch_database(None) as (dsn, _):
        with psycopg.connect(dsn, autocommit=True) as connection:
            fill(connection)
        command = [str(find_binaries() / "pg_dump"), "--exclude-schema=cron", dsn]
        done = subprocess.run(command, capture_output=True, check=True)
        target.write_bytes(gzip.compress(done.stdout, mtime=0))
    print(f"wrote {target}")


if __name__ == "__main__":
    main()
