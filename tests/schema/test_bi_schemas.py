"""Schemas that BI logins write to: what dbt does in them works, twice; nothing of another tenant is
reached from there, whatever is made in them; they go with their login or their tenant."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests.brute_force import Event, ingest

AT = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture
def tenants(db, new_tenant):
    found = new_tenant("Asia/Tokyo"), new_tenant()
    for tenant, name in zip(found, ("mine", "other"), strict=True):
        events = [Event(AT + n * timedelta(hours=1), UUID(int=n), name, n, name) for n in range(9)]
        ingest(db, tenant, events[:6])
        db.execute("select tally.fold_tenant(%s)", (tenant,))
        ingest(db, tenant, events[6:])
    return found


@pytest.fixture
def writer(dsn, db, tenants):
    """The login of the first tenant, its schema, and a session of it."""
    yield from logged_in(dsn, db, tenants[0], "dbt", "models")


@pytest.fixture
def neighbour(dsn, db, tenants):
    """The same of the second tenant, with the same names."""
    yield from logged_in(dsn, db, tenants[1], "dbt", "models")


def logged_in(dsn, db, tenant, label, schema):
    name, password = db.execute(
        "select * from tally.bi_role_create(%s, %s)", (tenant, label)
    ).fetchone()
    (made,) = db.execute("select tally.bi_schema_create(%s, %s)", (name, schema)).fetchone()
    with psycopg.connect(
        make_conninfo(dsn, user=name, password=password), autocommit=True
    ) as session:
        yield name, made, session
    if db.execute("select to_regrole(%s) is not null", (name,)).fetchone()[0]:
        db.execute("call tally.bi_role_drop(%s, true)", (name,))


def schema_exists(db, schema):
    return db.execute("select to_regnamespace(%s) is not null", (schema,)).fetchone()[0]


# Recorded from two runs of dbt-postgres 1.9.1: an incremental model with a unique key, and a table.
FIRST = """
  create table {schema}.orders as (
    select event_id, occurred_at, occurred_on, actor_id, value from bi.events);
  create table {schema}."days__dbt_tmp" as (
    select period_on, sum(event_count) as events, bi.unique_actors(period_on, period_on + 7) as actors
    from bi.daily_summaries group by 1);
  alter table {schema}."days__dbt_tmp" rename to "days";
  create view {schema}."plans__dbt_tmp" as (select actor_id, count(*) from {schema}.orders group by 1);
  alter table {schema}."plans__dbt_tmp" rename to "plans"
"""
AGAIN = """
  create temporary table "orders__dbt_tmp1" as (
    select event_id, occurred_at, occurred_on, actor_id, value from bi.events
    where occurred_at > (select max(occurred_at) - interval '2 hours' from {schema}.orders));
  select column_name, data_type from information_schema.columns
  where table_name = 'orders' and table_schema = '{schema}';
  delete from {schema}.orders as DBT_INTERNAL_DEST
  where (event_id) in (select distinct event_id from "orders__dbt_tmp1" as DBT_INTERNAL_SOURCE);
  insert into {schema}.orders (event_id, occurred_at, occurred_on, actor_id, value) (
    select event_id, occurred_at, occurred_on, actor_id, value from "orders__dbt_tmp1");
  create table {schema}."days__dbt_tmp" as (
    select period_on, sum(event_count) as events, bi.unique_actors(period_on, period_on + 7) as actors
    from bi.daily_summaries group by 1);
  alter table {schema}.days rename to "days__dbt_backup";
  alter table {schema}."days__dbt_tmp" rename to "days";
  drop table if exists {schema}."days__dbt_backup" cascade
"""


def test_an_incremental_model_runs_twice(db, tenants, writer):
    name, schema, session = writer
    assert schema == f"bi_{tenants[0].hex}_models"
    with session.transaction():
        session.execute(FIRST.format(schema=schema).encode())
    ingest(db, tenants[0], [Event(AT + timedelta(hours=9), UUID(int=9), "mine", 9, "mine")])
    with session.transaction():
        session.execute(AGAIN.format(schema=schema).encode())
    count = f"select count(*), count(distinct event_id), sum(value) from {schema}.orders"
    assert session.execute(count.encode()).fetchone() == (10, 10, 45)
    days = session.execute(f"select sum(events), min(actors) from {schema}.days".encode())
    assert days.fetchone() == (10, 1)


def test_it_writes_to_its_schema_and_nowhere_else(db, writer, neighbour):
    name, schema, session = writer
    other = neighbour[1]
    neighbour[2].execute(f"create table {other}.secret as select 1 as n".encode())
    neighbour[2].execute(f"grant all on {other}.secret to public".encode())
    neighbour[2].execute(
        f"create function {other}.f() returns int language sql as 'select 1'".encode()
    )
    for statement in (
        f"select * from {other}.secret", f"create table {other}.x ()", f"select {other}.f()",
        f"drop table {other}.secret", f"drop schema {other} cascade", f"drop schema {schema}",
        f"alter schema {schema} rename to x", f"grant usage on schema {schema} to public; select * from {other}.secret",
        f"alter schema {schema} owner to {name}", "create table public.x ()", "create table bi.x ()",
        "create table tally.x ()", "create schema x", "create extension hstore", "delete from tally.summaries",
        f"create table {schema}.r (t uuid references tally.tenants)", "create trigger t after insert on tally.events execute function f()",
        f"create table {schema}.p partition of tally.events default", "create index on tally.summaries (event_type)",
        f"create function {schema}.f() returns int language sql leakproof as 'select 1'",
        f"create function {schema}.f() returns int language c as 'x'", f"create table {schema}.i () inherits (tally.summaries)",
        "select lo_create(0)", "select pg_advisory_lock(1)", "set temp_file_limit = -1",
    ):  # fmt: skip
        with pytest.raises(psycopg.Error) as refusal:
            session.execute(statement.encode())
        assert refusal.value.sqlstate in ("42501", "42809"), (statement, refusal.value)
    assert neighbour[2].execute(f"select n from {other}.secret".encode()).fetchone() == (1,)
    assert db.execute(
        "select pg_get_userbyid(nspowner) from pg_namespace where nspname = %s", (schema,)
    ).fetchone() == ("tally_owner",)


# Each makes something in {schema} or in the temporary schema that stands before PostgreSQL's own, or
# runs with rights that it hopes are others'.
ATTACKS = {
    "a function of the policy": """
      create function {schema}.substr(text, int, int) returns text language sql as $$ select '{other}' $$;
      set search_path = {schema}, pg_catalog
    """,
    "an operator of the policy": """
      create function {schema}.yes(name, text) returns bool language sql as 'select true';
      create operator {schema}.= (function = {schema}.yes, leftarg = name, rightarg = text);
      create function {schema}.current_setting(text, bool) returns text language sql as $$ select '{other}' $$;
      set search_path = {schema}, pg_catalog
    """,
    "a type of the policy": """
      create function {schema}.wrong() returns bool language sql as 'select true';
      create domain pg_temp.uuid as pg_catalog.uuid default '{other}' check ({schema}.wrong());
      create domain pg_temp.text as pg_catalog.text check ({schema}.wrong());
      set search_path = pg_temp, pg_catalog
    """,
    "a setting": "set tally.tenant_id = '{other}'; set search_path = tally",
    "a definer": """
      create function {schema}.all_of_it() returns bigint language sql security definer
      as $$ select count(*) from tally.summaries where event_type = 'other' $$;
      grant execute on function {schema}.all_of_it() to public
    """,
    "a leaking condition": """
      create function {schema}.leak(text) returns bool language plpgsql cost 0.0000001
      as $$ begin if $1 = 'other' then raise exception 'leaked %', $1; end if; return true; end $$;
      create operator {schema}.?! (function = {schema}.leak, rightarg = text);
      set search_path = {schema}, pg_catalog
    """,
    "helpers of the views": """
      create function {schema}.local_date(timestamptz, text) returns date language sql as 'select null::date';
      create function {schema}.sum(bigint) returns numeric language sql as 'select 0';
      set search_path = {schema}, tally, pg_catalog
    """,
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
def test_whatever_it_makes_shows_it_its_own_tenant_only(db, tenants, writer, attack):
    _, schema, session = writer
    mine, other = tenants
    questions = (
        "select distinct event_type from bi.period_summaries",
        "select distinct event_type from bi.events",
        "select distinct event_type from tally.summary_deltas",
        "select distinct event_type from tally.summaries where kind = 'e'",
    )
    for statement in ATTACKS[attack].split(";\n"):
        session.execute(statement.format(schema=schema, other=other.hex).encode())
    for question in questions:
        assert session.execute(question.encode()).fetchall() == [("mine",)], question
    assert session.execute("select tenant_id from bi.tenant").fetchall() == [(mine,)]
    assert session.execute("select bi.unique_actors()").fetchone() == (1,)
    assert session.execute(
        "select bi.unique_actors('2023-12-31', '2024-01-03', '{other}')"
    ).fetchone() == (0,)
    if attack == "a definer":
        found = session.execute(f"select {schema}.all_of_it()".encode())
        assert found.fetchone() == (0,)
    if attack == "a leaking condition":
        for condition in (f"{schema}.leak(event_type)", "?! event_type"):
            for question in questions[:3]:
                text = question + " where " + condition
                assert session.execute(text.encode()).fetchall() == [("mine",)]


def test_a_function_that_a_bi_login_may_run_has_no_rights_of_others(db):
    """It could put types of its own before ours in the temporary schema, which an empty search_path
    does not keep out, and would run its checks with those rights."""
    found = db.execute(
        """
        select p.oid::regprocedure::text from pg_proc as p
        where p.prosecdef
          and p.pronamespace::regnamespace::text in ('api', 'bi', 'tally')
          and has_function_privilege('tally_bi', p.oid, 'execute')
        """
    ).fetchall()
    assert found == []


def test_what_policies_call_was_read_when_it_was_made(db):
    """A function in SQL whose body is a text is read by each session with its own search_path."""
    found = db.execute(
        """
        select distinct p.proname::text, p.prosqlbody is not null
        from pg_policy as o
        join pg_depend as d on d.classid = 'pg_policy'::regclass and d.objid = o.oid
        join pg_proc as p on d.refclassid = 'pg_proc'::regclass and p.oid = d.refobjid
        """
    ).fetchall()
    assert found == [("current_tenant", True)]


def test_a_restored_database_lets_it_make_temporary_tables_again(db, writer):
    name, _, session = writer
    (database,) = db.execute("select current_database()").fetchone()
    db.execute(f'revoke temporary on database "{database}" from {name}'.encode())
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        session.execute("create temp table t ()")
    assert db.execute("select * from tally.database_setup()").fetchall() == []
    session.execute("create temp table t ()")


def test_an_empty_schema_goes_with_its_login(db, writer):
    name, schema, session = writer
    session.execute("create temp table t as select 1 as n")
    db.execute("call tally.bi_role_drop(%s)", (name,))
    assert not schema_exists(db, schema)


def test_what_is_in_a_schema_is_named_and_kept_until_told_otherwise(db, writer):
    name, schema, session = writer
    session.execute(f"create table {schema}.orders as select 1 as n".encode())
    with pytest.raises(psycopg.Error, match=rf"it owns table {schema}\.orders") as refusal:
        db.execute("call tally.bi_role_drop(%s)", (name,))
    assert refusal.value.sqlstate == "TY409"
    assert db.execute(f"select n from {schema}.orders".encode()).fetchone() == (1,)
    db.execute("call tally.bi_role_drop(%s, true)", (name,))
    assert not schema_exists(db, schema)


def test_what_is_handed_over_keeps_the_schema(db, writer):
    name, schema, session = writer
    session.execute(f"create table {schema}.orders as select 1 as n".encode())
    db.execute(f"reassign owned by {name} to tally_owner".encode())
    db.execute("call tally.bi_role_drop(%s)", (name,))
    assert db.execute(f"select n from {schema}.orders".encode()).fetchone() == (1,)
    db.execute(f"drop schema {schema} cascade".encode())


@pytest.mark.parametrize("by", ["the DBA", "the jobs"])
def test_a_deleted_tenant_takes_its_schemas_along(db, tenants, writer, by):
    name, schema, session = writer
    session.execute(f"create table {schema}.orders as select * from bi.events".encode())
    session.execute(f"create view {schema}.v as select * from {schema}.orders".encode())
    (tenant, tenant_name) = tenants[0], "tenant 1"
    if by == "the jobs":
        db.execute("set role tally_owner")
    for _ in range(10):
        db.execute("select * from tally.tenant_remove(%s, %s)", (tenant, tenant_name))
    assert not schema_exists(db, schema)
    db.execute("reset role")
    found = db.execute("select state, logins_left from tally.tenant_deletion(%s)", (tenant,))
    assert found.fetchone() == ("done", [] if by == "the DBA" else [name])


def test_a_deletion_does_not_end_before_a_schema_in_use_is_gone(db, dsn, tenants, writer):
    name, schema, session = writer
    session.execute(f"create table {schema}.orders as select * from bi.events".encode())
    remove = "select state from tally.tenant_remove(%s, 'tenant 1')"
    db.execute("set role tally_owner")
    with session.transaction():
        session.execute(f"select * from {schema}.orders".encode())
        for _ in range(6):
            (state,) = db.execute(remove.encode(), (tenants[0],)).fetchone()
        assert state == "removing"
        assert schema_exists(db, schema)
    assert db.execute(remove.encode(), (tenants[0],)).fetchone() == ("done",)
    db.execute("reset role")


@pytest.mark.parametrize(
    ("role", "name", "sqlstate"),
    [
        (None, "models", "TY409"), (None, "No Good", "TY400"), (None, "x" * 28, "TY400"), (None, "", "TY400"),
        ("postgres", "models", "TY404"), ("tally_bi", "models", "TY404"), ("bi_" + "0" * 32 + "_x", "m", "TY404"),
    ],
)  # fmt: skip
def test_a_schema_that_cannot_be_made_is_refused(db, writer, role, name, sqlstate):
    with pytest.raises(psycopg.Error) as refusal:
        db.execute("select tally.bi_schema_create(%s, %s)", (role or writer[0], name))
    assert refusal.value.sqlstate == sqlstate
