"""The logins of BI tools: shut in, and gone when they are dropped, with nothing of value lost."""

import threading

import psycopg
import pytest
from pgtally.dev.cluster import DATABASE
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tests.conftest import wait_for


@pytest.fixture
def login(dsn, db, new_tenant):
    """A name and a way to connect; dropped in the end."""
    name, password = db.execute(
        "select * from tally.bi_role_create(%s, 'tool')", (new_tenant(),)
    ).fetchone()
    connections = []

    def connect(**parts):
        parts = {"user": name, "password": password, **parts}
        connections.append(psycopg.connect(make_conninfo(dsn, **parts), autocommit=True))
        return connections[-1]

    yield name, connect
    for connection in connections:
        connection.close()
    if db.execute("select to_regrole(%s) is not null", (name,)).fetchone()[0]:
        db.execute("call tally.bi_role_drop(%s, true)", (name,))


def drop(db, name, *more):
    places = "".join(", %s" for _ in more)
    db.execute(f"call tally.bi_role_drop(%s{places})".encode(), (name, *more))


def exists(db, name):
    return db.execute("select to_regrole(%s) is not null", (name,)).fetchone()[0]


def acts(db, name):
    found = db.execute("select action from tally.audit_log where subject = %s order by 1", (name,))
    return [action for (action,) in found]


def closed(connect, **parts):
    with pytest.raises(psycopg.OperationalError, match="not permitted to log in"):
        connect(**parts)


@pytest.mark.parametrize("database", ["postgres", "template1"])
def test_a_bi_login_enters_no_other_database_of_a_cluster_that_pgtally_made(login, database):
    _, connect = login
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        connect(dbname=database)


def test_what_a_login_owns_is_named_and_kept_until_told_otherwise(db, login):
    name, connect = login
    session = connect()
    db.execute(f"create schema models authorization {name}".encode())
    session.execute("set default_transaction_read_only = off")
    session.execute("create table models.orders as select 1 as n")
    for n in range(30):
        session.execute(f"create table models.m{n} ()".encode())
    with pytest.raises(psycopg.Error) as refusal:
        drop(db, name)
    assert refusal.value.sqlstate == "TY409"
    assert "it owns schema models, table models.orders" in str(refusal.value)
    assert "and 12 more" in str(refusal.value)
    assert f"call tally.bi_role_drop('{name}', p_drop_owned => true)" in str(refusal.value)
    assert db.execute("select n from models.orders").fetchone() == (1,)
    # Closed all the same, and at once.
    with pytest.raises(psycopg.OperationalError):
        session.execute("select 1")
    closed(connect)
    assert acts(db, name) == ["bi_role.close", "bi_role.create"]
    drop(db, name, True)
    assert db.execute("select to_regnamespace('models')").fetchone() == (None,)
    assert not exists(db, name)
    assert acts(db, name) == ["bi_role.close", "bi_role.close", "bi_role.create", "bi_role.drop"]


def test_what_is_handed_over_stays(db, login):
    name, _ = login
    db.execute(f"create schema models authorization {name}".encode())
    db.execute(f"create table models.orders (); alter table models.orders owner to {name}".encode())
    with pytest.raises(psycopg.Error, match="reassign owned by"):
        drop(db, name)
    db.execute(f"reassign owned by {name} to current_user".encode())
    drop(db, name)
    assert not exists(db, name)
    assert db.execute("select count(*) from models.orders").fetchone() == (0,)


def test_leftovers_in_another_database_are_named_and_the_login_is_closed_all_the_same(
    dsn, db, login
):
    name, connect = login
    elsewhere = make_conninfo(dsn, dbname=DATABASE)
    with psycopg.connect(elsewhere, autocommit=True) as other:
        other.execute(f"create schema left_by_{name} authorization {name}".encode())
        other.execute(f"grant select on pg_authid to {name}".encode())
        session = connect(dbname=DATABASE)
        for drop_owned in (False, True):
            with pytest.raises(psycopg.Error) as refusal:
                drop(db, name, drop_owned)
            assert refusal.value.sqlstate == "TY409"
            assert f"it owns 2 in database {DATABASE}" in str(refusal.value)
            assert f"in database {DATABASE}: drop owned by {name}" in str(refusal.value)
        closed(connect)
        closed(connect, dbname=DATABASE)
        with pytest.raises(psycopg.OperationalError):
            session.execute("select 1")
        assert other.execute(
            "select to_regnamespace(%s) is not null", (f"left_by_{name}",)
        ).fetchone()[0]
        other.execute(f"drop owned by {name}".encode())
    drop(db, name)
    assert not exists(db, name)


def test_a_login_is_closed_before_anything_else_can_delay_it(dsn, db, login):
    name, connect = login
    session = connect()
    db.execute(f"create schema models authorization {name}".encode())
    db.execute(f"create table models.orders (); alter table models.orders owner to {name}".encode())
    with psycopg.connect(dsn) as blocker, psycopg.connect(dsn, autocommit=True) as dropper:
        blocker.execute("lock table models.orders")
        thread = threading.Thread(target=drop, args=(dropper, name, True))
        thread.start()
        waits = "select count(*) from pg_stat_activity where pid = %s and wait_event_type = 'Lock'"
        wait_for(lambda: db.execute(waits, (dropper.info.backend_pid,)).fetchone() == (1,))
        closed(connect)
        with pytest.raises(psycopg.OperationalError):
            session.execute("select 1")
        blocker.rollback()
        thread.join()
    assert not exists(db, name)


def test_inside_a_transaction_nothing_is_done(db, login):
    name, connect = login
    with pytest.raises(psycopg.Error, match="invalid transaction termination"), db.transaction():
        drop(db, name)
    connect()


@pytest.mark.parametrize("name", ["postgres", "tally_service", "bi_nobody", None, "bi_" + "0" * 32])
def test_nothing_but_a_bi_login_is_dropped_or_gets_a_password(db, name):
    for statement in (
        "call tally.bi_role_drop(%s)",
        "select * from tally.bi_role_set_password(%s)",
    ):
        if name is None and "password" in statement:
            continue
        with pytest.raises(psycopg.Error) as refusal:
            db.execute(statement.encode(), (name,))
        assert refusal.value.sqlstate == "TY404"


def test_a_new_password_is_set_in_place(dsn, db, login):
    name, connect = login
    session = connect()
    (password,) = db.execute(
        "select password from tally.bi_role_set_password(%s)", (name,)
    ).fetchone()
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        connect()
    assert connect(password=password).execute("show search_path").fetchone() == ("bi",)
    assert session.execute("select 1").fetchone() == (1,)
    verifier = db.pgconn.encrypt_password(b"chosen", b"", b"scram-sha-256").decode()
    db.execute("select tally.bi_role_set_password(%s, %s)", (name, verifier))
    connect(password="chosen")
    stored = db.execute("select rolpassword from pg_authid where rolname = %s", (name,)).fetchone()
    assert stored == (verifier,)
    assert acts(db, name) == ["bi_role.create", "bi_role.set_password", "bi_role.set_password"]
    logged = db.execute("select string_agg(l::text, '') from tally.audit_log as l").fetchone()[0]
    assert password not in logged
    assert verifier not in logged


def test_temporary_files_are_bounded_and_the_login_cannot_change_that(db, login):
    name, connect = login
    session = connect()
    session.execute("set default_transaction_read_only = off")
    for statement in (
        "set temp_file_limit = -1", "select set_config('temp_file_limit', '-1', false)",
        f"alter role {name} set temp_file_limit = -1", f"alter role {name} reset temp_file_limit",
    ):  # fmt: skip
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            session.execute(statement.encode())
    session.execute(f"alter role {name} reset all".encode())
    session.execute("reset all")
    assert session.execute("show temp_file_limit").fetchone() == ("1GB",)
    again = connect()
    assert again.execute("show temp_file_limit").fetchone() == ("1GB",)
    db.execute(f"alter role {name} set temp_file_limit = '1MB'".encode())
    bounded = connect()
    bounded.execute("set work_mem = '64kB'")
    with pytest.raises(psycopg.errors.ConfigurationLimitExceeded, match="temporary file size"):
        bounded.execute(
            "select * from generate_series(1, 1000000) as n order by n desc offset 999999"
        )


def test_doctor_names_what_a_bi_login_could_do_beside_its_work(dsn, db, login):
    name, connect = login

    def advice(check):
        return db.execute(
            "select status, message, remedy from tally.doctor() where check_name = %s", (check,)
        ).fetchone()

    assert advice("BI logins: temporary files")[0] == "ok"
    db.execute(sql.SQL("alter role {} reset temp_file_limit").format(sql.Identifier(name)))
    status, message, remedy = advice("BI logins: temporary files")
    assert (status, message) == ("advice", f"unbounded for {name}")
    db.execute(remedy.encode())
    assert advice("BI logins: temporary files")[0] == "ok"
    # Other databases of the tests are open to everybody, as in a cluster that somebody else made.
    status, message, remedy = advice("BI logins: other databases")
    assert status == "advice"
    assert f" {DATABASE}" in message
    assert "postgres" not in message
    assert "revoke connect on database " in remedy
    drop(db, name)
    assert advice("BI logins: other databases")[0] == "ok"
