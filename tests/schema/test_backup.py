"""docs/how-to/back-up-and-restore.md, tried: a dump taken while events arrive, restored elsewhere."""

import os
import subprocess
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import psycopg
from pgtally.migrate import migrate
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.brute_force import Event, ingest

NOW = datetime.now(UTC)


def _run(name: str, *arguments: str, dsn: str) -> None:
    password = str(conninfo_to_dict(dsn)["password"])
    subprocess.run(
        [str(Path(os.environ["PGTALLY_TEST_BIN"]) / name), *arguments],
        env={**os.environ, "PGPASSWORD": password}, check=True, capture_output=True,
    )  # fmt: skip


def test_a_dump_taken_while_events_arrive_is_exact_when_restored(dsn, db, new_tenant, tmp_path):
    tenant = new_tenant("Asia/Kathmandu")
    days = [NOW - timedelta(days=n) for n in range(40)]
    ingest(db, tenant, [Event(day, UUID(int=n), "a", 2) for n, day in enumerate(days)])
    db.execute("call tally.fold()")
    db.execute("call tally.finalize('day')")
    login = db.execute(
        "select role_name from tally.bi_role_create(%s, 'backup')", (tenant,)
    ).fetchone()[0]
    stop = threading.Event()

    def write() -> None:
        with psycopg.connect(dsn, autocommit=True) as connection:
            number = 1000
            while not stop.is_set():
                number += 1
                ingest(connection, tenant, [Event(NOW, UUID(int=number), "b", 1)])
                if number % 7 == 0:
                    connection.execute("call tally.fold()")

    writer = threading.Thread(target=write)
    writer.start()
    dump = str(tmp_path / "pgtally.dump")
    try:
        _run("pg_dump", "--format=custom", f"--file={dump}", f"--dbname={dsn}", dsn=dsn)
    finally:
        stop.set()
        writer.join()
    name = conninfo_to_dict(dsn)["dbname"] + "_restored"
    restored = make_conninfo(dsn, dbname=name)
    db.execute(f'create database "{name}"'.encode())
    try:
        _run("pg_restore", "--exit-on-error", f"--dbname={restored}", dump, dsn=dsn)
        migrate(restored, lambda _: None)
        with psycopg.connect(restored, autocommit=True) as connection:
            assert connection.execute("select * from tally.verify(%s)", (tenant,)).fetchall() == []
            wrong = connection.execute(
                "select check_name, message from tally.doctor() where status <> 'ok'"
            ).fetchall()
            # No cron in this database, so jobs are late, and other tests' databases beside it are
            # open; all else is as it was.
            assert [
                line
                for line in wrong
                if not line[0].startswith(("job ", "extension pg_cron", "BI logins: other"))
            ] == []
            counted = connection.execute(
                "select total from api.event_count(%s)", (tenant,)
            ).fetchone()[0]
            stored = connection.execute("select count(*) from tally.events").fetchone()[0]
            assert counted == stored >= 40
            finals = connection.execute(
                "select count(*) from tally.summaries where final_at is not null"
            ).fetchone()[0]
            assert finals >= 39
            connection.execute(f"set session authorization {login}".encode())
            seen = connection.execute("select sum(event_count) from bi.daily_summaries").fetchone()
            assert seen == (stored,)
    finally:
        db.execute(f'drop database "{name}" with (force)'.encode())
        db.execute("call tally.bi_role_drop(%s)", (login,))
