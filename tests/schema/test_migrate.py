"""Migrations: the same database as sql/schema, at once, again, and refused when it is newer."""

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from pgtally.migrate import MigrationError, migrate
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.conftest import ROOT, wait_for


@pytest.fixture
def empty_dsn(dsn):
    name = conninfo_to_dict(dsn)["dbname"] + "_empty"
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"drop database if exists {name} with (force)".encode())
        connection.execute(f"create database {name} template template0".encode())
        yield make_conninfo(dsn, dbname=name)
        connection.execute(f"drop database {name} with (force)".encode())


def dump(dsn):
    done = subprocess.run(
        [os.environ["PGTALLY_TEST_BIN"] + "/pg_dump", "--schema-only", "--schema=tally", "--schema=api", "--schema=bi", dsn],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    # Weekly partitions depend on the day; two sessions' random tokens stand in \restrict.
    lines = [
        line
        for line in done.stdout.splitlines()
        if not line.startswith(("\\restrict", "\\unrestrict", "COMMENT ON SCHEMA api"))
    ]
    blocks = "\n".join(lines).split("\n--\n")
    return [block for block in blocks if "events_2" not in block]


def test_migrations_and_sql_schema_give_the_same_database(dsn, empty_dsn):
    with psycopg.connect(empty_dsn, autocommit=True) as connection:
        text = "".join(path.read_text() for path in sorted((ROOT / "sql/schema").glob("*.sql")))
        with connection.transaction():
            connection.execute(text.encode())
    routines = """
      select 'routine ' || p.oid::regprocedure::text from pg_proc as p
      where p.pronamespace in ('tally'::regnamespace, 'api'::regnamespace, 'bi'::regnamespace)
    """
    with psycopg.connect(empty_dsn) as empty, psycopg.connect(dsn, autocommit=True) as migrated:
        of_the_schema = {row[0] for row in empty.execute(routines)}
        for (routine,) in migrated.execute(routines).fetchall():
            if routine not in of_the_schema:
                migrated.execute(f"drop {routine}".encode())
    assert dump(dsn) == dump(empty_dsn)


def test_twenty_at_once_are_harmless(empty_dsn):
    with ThreadPoolExecutor(20) as pool:
        said = list(pool.map(lambda _: _migrate(empty_dsn), range(20)))
    assert sum("applied migration 0001.initial" in lines for lines in said) == 1
    assert sum(any("loaded" in line for line in lines) for lines in said) == 1


def _migrate(dsn):
    lines = []
    migrate(dsn, lines.append)
    return lines


def test_a_second_run_changes_nothing(dsn):
    assert _migrate(dsn) == ["functions and jobs are up to date"]


def test_a_database_from_a_newer_version_is_refused(dsn, db):
    db.execute("insert into tally.schema_migrations (migration_id) values ('9999.from-the-future')")
    with pytest.raises(MigrationError, match=r"9999\.from-the-future"):
        migrate(dsn, print)


def test_a_run_cut_off_before_the_migration_was_marked_is_completed(dsn, db):
    db.execute("delete from public._yoyo_migration")
    assert "marked migration" in _migrate(dsn)[0]
    assert _migrate(dsn) == ["functions and jobs are up to date"]


def test_functions_that_are_gone_from_the_files_are_dropped(dsn, db):
    db.execute("create function tally.left_over() returns integer language sql as 'select 1'")
    db.execute("comment on schema api is 'something else'")
    migrate(dsn, lambda _: None)
    assert db.execute("select to_regproc('tally.left_over')").fetchone() == (None,)


def test_a_function_whose_arguments_or_result_changed_is_replaced(dsn, db):
    db.execute("drop function tally.uuid7_time")
    db.execute(
        "create function tally.uuid7_time(p_id uuid) returns text language sql as 'select 1::text'"
    )
    db.execute("drop function tally.is_uuid")
    db.execute(
        "create function tally.is_uuid(p uuid, q uuid) returns text language sql as 'select 1::text'"
    )
    db.execute("comment on schema api is 'something else'")
    migrate(dsn, lambda _: None)
    assert db.execute(
        "select tally.is_uuid('x'), pg_typeof(tally.uuid7_time(gen_random_uuid()))::text"
    ).fetchone() == (
        False,
        "timestamp with time zone",
    )


def test_reloading_functions_under_load_fails_no_call(dsn, db, service_dsn, new_tenant):
    tenant = new_tenant()
    errors, calls = [], 0
    stop = False

    def hammer() -> None:
        nonlocal calls
        with psycopg.connect(service_dsn, autocommit=True, prepare_threshold=1) as connection:
            while not stop:
                try:
                    connection.execute("select total from api.event_count(%s)", (tenant,))
                    calls += 1
                except psycopg.Error as error:
                    errors.append(error)

    with ThreadPoolExecutor(2) as pool:
        hammers = [pool.submit(hammer) for _ in range(2)]
        for number in range(3):
            db.execute(f"comment on schema api is 'reload {number}'".encode())
            migrate(dsn, lambda _: None)
        before = calls
        wait_for(lambda: calls > before + 10 or errors)
        stop = True
        for future in hammers:
            future.result()
    assert errors == []


def test_jobs_are_scheduled_where_pg_cron_runs():
    with psycopg.connect(os.environ["PGTALLY_TEST_DSN"]) as connection:
        jobs = dict(
            connection.execute(
                "select command, schedule from cron.job where username = 'tally_jobs'"
            ).fetchall()
        )
    assert jobs == {
        "call tally.fold('50 s')": "* * * * *",
        "call tally.fill()": "* * * * *",
        "call tally.finalize('day')": "0 1 * * *",
        "call tally.finalize('week')": "0 1 * * 5",
        "call tally.finalize('month')": "0 0 1,2 * *",
        "call tally.maintain()": "17 * * * *",
        "call tally.verify_recent()": "0 3 * * *",
        "delete from cron.job_run_details where end_time < now() - interval '7 days'": "41 2 * * *",
    }
