"""A database of each release becomes one of today, with the same figures."""

import gzip
import os
import re
import subprocess

import psycopg
import pytest
from pgtally.migrate import migrate
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.schema.test_migrate import dump
from tests.upgrade.make import FOLDER, ZONES, events

RELEASES = sorted(path.name.removesuffix(".sql.gz") for path in FOLDER.glob("*.sql.gz"))


@pytest.fixture(params=RELEASES)
def old_dsn(request, dsn):
    name = conninfo_to_dict(dsn)["dbname"] + "_old"
    target = make_conninfo(dsn, dbname=name)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"create database {name} template template0".encode())
        text = gzip.decompress((FOLDER / f"{request.param}.sql.gz").read_bytes())
        # PostgreSQL 17 knows this function by other arguments; migrating sets its privileges again.
        text = re.sub(rb"(?m)^.* ON FUNCTION pg_catalog\.pg_logical_emit_message\(.*$", b"", text)
        done = subprocess.run(
            [os.environ["PGTALLY_TEST_BIN"] + "/psql", "-qv", "ON_ERROR_STOP=1", target],
            input=text, capture_output=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr.decode()
        yield target
        connection.execute(f"drop database {name} with (force)".encode())


def test_there_is_a_release_to_upgrade_from():
    assert RELEASES


def test_a_database_of_a_release_becomes_one_of_today_with_its_figures(old_dsn, dsn):
    migrate(old_dsn, lambda _: None)
    # The clone of the template has the privileges that belong to a database.
    assert dump(old_dsn) == dump(dsn)
    with psycopg.connect(old_dsn, autocommit=True) as connection:
        tenants = dict(connection.execute("select time_zone, tenant_id from tally.tenants"))
        assert set(tenants) == set(ZONES)
        for round_ in range(2):
            for zone, tenant in tenants.items():
                sent = events(zone)
                late = zone == ZONES[0]
                total, actors = connection.execute(
                    """
                    select total, (
                      select total from api.event_count(%(tenant)s, p_measure => 'uniqueActors'))
                    from api.event_count(%(tenant)s)
                    """,
                    {"tenant": tenant},
                ).fetchone()
                assert total == len(sent) + late
                assert actors == len({event.actor for event in sent})
                (value,) = connection.execute(
                    "select total from api.event_count(%s, p_measure => 'sum')", (tenant,)
                ).fetchone()
                assert value == sum(event.value or 0 for event in sent)
                assert (
                    connection.execute("select * from tally.verify(%s)", (tenant,)).fetchall() == []
                )
                (kept,) = connection.execute(
                    "select count(*) from api.rejected_list(%s)", (tenant,)
                ).fetchone()
                assert kept == 1
            if round_ == 0:
                connection.execute("call tally.fold()")
                healed = [
                    connection.execute("call tally.finalize(%s)", (unit,)).fetchone()[2]
                    for unit in ("day", "week", "month")
                ]
                assert healed == [0, 0, 0]
