"""Installing with a login that is no superuser, on a server of its own, since roles are shared."""

import shutil
import tempfile
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from pgtally.dev.cluster import Cluster
from pgtally.migrate import MigrationError, migrate
from psycopg.conninfo import make_conninfo

from tests.conftest import NOT_DURABLE, in_memory, wait_for

TENANT = "11111111-1111-4111-8111-111111111111"


@pytest.fixture
def cluster():
    home = Path(tempfile.mkdtemp(prefix="pgtally-no-superuser-", dir=in_memory()))
    home.chmod(0o755)
    cluster = Cluster(home, {**NOT_DURABLE, "shared_buffers": "32MB"})
    cluster.create()
    cluster.start()
    yield cluster
    cluster.remove()
    shutil.rmtree(home)


@pytest.fixture
def admin(cluster):
    with psycopg.connect(cluster.dsn(), autocommit=True) as connection:
        yield connection


def run(dsn):
    said = []
    migrate(dsn, said.append)
    return said


def obey(dsn, admin):
    """Migrates; an administrator runs all that it asks for, at most once."""
    try:
        return run(dsn)
    except MigrationError as error:
        lines = str(error).splitlines()
        admin.execute("\n".join(line for line in lines if line.startswith("    ")).encode())
        return run(dsn)


def works(dsn, admin, cron):
    """What an installation has to do, done by its own login."""
    with psycopg.connect(dsn, autocommit=True) as db:
        tenant = db.execute("select tenant_id from api.tenant_create('t', 'UTC')").fetchone()[0]
        db.execute(
            "select api.events_ingest_json(%s, %s)",
            (tenant, '[{"type": "a", "occurredAt": "2026-01-01T00:00:00Z", "actorId": "x"}]'),
        )
        db.execute("call tally.fold()")
        db.execute("call tally.finalize('day')")
        db.execute("call tally.maintain()")
        assert db.execute("select total from api.event_count(%s)", (tenant,)).fetchone()[0] == 1
        assert db.execute("select * from tally.verify(%s)", (tenant,)).fetchall() == []
        login, password = db.execute(
            "select * from tally.bi_role_create(%s, 'x')", (tenant,)
        ).fetchone()
        with closing(psycopg.connect(make_conninfo(dsn, user=login, password=password))) as bi:
            assert bi.execute(
                "select sum(event_count) from bi.daily_summaries where event_type = 'a'"
            ).fetchone() == (1,)
            for other in ("postgres", "template1"):
                with pytest.raises(
                    psycopg.OperationalError, match="permission denied for database"
                ):
                    psycopg.connect(make_conninfo(dsn, user=login, password=password, dbname=other))
            advice = dict(
                db.execute(
                    "select check_name, remedy from tally.doctor() where check_name like 'BI logins%'"
                ).fetchall()
            )
            assert advice["BI logins: other databases"] is None
            # This limit takes a superuser, who made the login here or does what doctor says.
            (is_superuser,) = db.execute("select current_setting('is_superuser')").fetchone()
            remedy = advice["BI logins: temporary files"]
            assert (remedy is None) == (is_superuser == "on")
            if remedy:
                admin.execute(remedy.encode())
            (new,) = db.execute(
                "select password from tally.bi_role_set_password(%s)", (login,)
            ).fetchone()
            with closing(psycopg.connect(make_conninfo(dsn, user=login, password=new))) as again:
                assert again.execute("show temp_file_limit").fetchone() == ("1GB",)
            # Its session is ended, too.
            db.execute("call tally.bi_role_drop(%s)", (login,))
        db.execute("alter role tally_service password 'x'")
        with psycopg.connect(make_conninfo(dsn, user="tally_service", password="x")) as service:
            assert (
                service.execute("select total from api.event_count(%s)", (tenant,)).fetchone()[0]
                == 1
            )
        wrong = dict(
            db.execute(
                "select check_name, remedy from tally.doctor() "
                "where status <> 'ok' and check_name not like 'job %'"
            )
        )
    jobs = admin.execute(
        "select count(*) from cron.job where username = 'tally_jobs' and active"
        if cron
        else "select 0"
    ).fetchone()[0]
    assert jobs == (8 if cron else 0)
    # Partitions belong to the owner, whoever made them.
    assert admin.execute(
        "select distinct relowner::regrole::text from pg_class "
        "where relnamespace in ('tally'::regnamespace, 'api'::regnamespace, 'bi'::regnamespace)"
    ).fetchall() == [("tally_owner",)]
    assert admin.execute(
        "select has_schema_privilege('tally_tenant', 'api', 'create')"
    ).fetchone() == (False,)
    return wrong


@pytest.mark.parametrize("cron", [pytest.param(True, marks=pytest.mark.early), False])
def test_a_login_that_may_create_roles_installs(cluster, admin, cron):
    admin.execute("create role dba login createrole createdb password 'x'")
    admin.execute("alter database pgtally owner to dba")
    dsn = cluster.dsn(user="dba", password="x")
    with pytest.raises(MigrationError, match="create extension hll with schema public"):
        migrate(dsn, print)
    admin.execute("create extension hll with schema public")
    if cron:
        admin.execute("create extension pg_cron")
        with pytest.raises(
            MigrationError, match="grant usage on schema cron to dba with grant opt"
        ):
            migrate(dsn, print)
        admin.execute("grant usage on schema cron to dba with grant option")
    said = run(dsn)
    left = {
        "database: advisory locks are for our functions",
        "database: large objects, advisory locks and WAL messages are not for everybody",
    }
    if admin.info.server_version >= 160_000:
        # From there on, whoever may create roles may not give PostgreSQL's own.
        left.add("database: our jobs see how long others hold locks")
    assert said[-1].startswith(f"{len(left)} settings are left to an administrator")
    assert run(dsn)[0] == "functions and jobs are up to date"
    wrong = works(dsn, admin, cron)
    assert set(wrong) - {"extension pg_cron"} == left
    # The administrator runs what doctor says.
    for name, remedy in sorted(wrong.items()):
        if name.startswith("database"):
            admin.execute(remedy.encode())
    assert len(run(dsn)) == 1
    with psycopg.connect(dsn, autocommit=True) as db:
        assert db.execute("select * from tally.database_claims() where not done").fetchall() == []
        db.execute("comment on schema api is 'load again'")
    assert "loaded" in run(dsn)[0]
    if cron:
        wait_for(
            lambda: admin.execute(
                "select 1 from cron.job_run_details where username = 'tally_jobs' and status = 'succeeded'"
            ).fetchone(),
            75,
        )
    # Back to a superuser, and forth again.
    admin.execute("comment on schema api is 'load again'")
    assert "loaded" in run(cluster.dsn())[0]
    admin.execute("comment on schema api is 'load again'")
    assert "loaded" in run(dsn)[0]


def test_a_login_that_may_create_nothing_is_told_all_and_installs(cluster, admin):
    admin.execute("create role dba login noinherit password 'x'")
    dsn = cluster.dsn(user="dba", password="x")
    said = obey(dsn, admin)
    assert "settings are left" in said[-1]
    with psycopg.connect(dsn, autocommit=True) as db:
        for (statement,) in db.execute(
            "select remedy from tally.doctor() where check_name like 'database%' and status <> 'ok'"
        ).fetchall():
            admin.execute(statement.encode())
    assert len(run(dsn)) == 1


def test_an_installation_of_a_superuser_is_taken_over(cluster, admin):
    migrate(cluster.dsn(), lambda _: None)
    assert admin.execute("select * from tally.database_claims() where not done").fetchall() == []
    admin.execute("create role dba login createrole createdb password 'x'")
    admin.execute("alter database pgtally owner to dba")
    dsn = cluster.dsn(user="dba", password="x")
    obey(dsn, admin)
    admin.execute("comment on schema api is 'load again'")
    assert "loaded" in run(dsn)[0]
    assert set(works(dsn, admin, True)) == set()
