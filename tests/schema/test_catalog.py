"""Rules that hold for every table and function, read from the catalog."""

from datetime import UTC, datetime
from uuid import UUID

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests.brute_force import Event, ingest

SCHEMAS = "('tally', 'api', 'bi')"


def rows(db, query):
    return [row[0] for row in db.execute(query).fetchall()]


def test_every_function_is_owned_by_one_of_our_roles_and_closed_to_the_public(db):
    found = rows(
        db,
        f"""
        select p.oid::regprocedure::text from pg_proc as p
        where p.pronamespace::regnamespace::text in {SCHEMAS}
          and (p.proowner::regrole::text not in ('tally_owner', 'tally_tenant')
            or exists (select from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) as a
              where a.grantee = 0))
        """,
    )
    assert found == []


def test_every_api_function_is_security_definer_with_an_empty_search_path(db):
    found = rows(
        db,
        """
        select p.oid::regprocedure::text from pg_proc as p
        where p.pronamespace = 'api'::regnamespace
          and not (p.prosecdef and p.proconfig @> array['search_path=""'])
        """,
    )
    assert found == []


def test_every_security_definer_function_has_an_empty_search_path(db):
    found = rows(
        db,
        f"""
        select p.oid::regprocedure::text from pg_proc as p
        where p.pronamespace::regnamespace::text in {SCHEMAS}
          and p.prosecdef and not coalesce(p.proconfig @> array['search_path=""'], false)
        """,
    )
    assert found == []


def test_every_function_that_takes_a_tenant_first_is_strict(db):
    found = rows(
        db,
        """
        select p.proname::text from pg_proc as p
        where p.pronamespace = 'api'::regnamespace
          and p.proargnames[1] = 'p_tenant' and not p.proisstrict
        """,
    )
    assert found == []


def test_every_function_table_and_view_has_a_comment(db):
    found = rows(
        db,
        f"""
        select p.oid::regprocedure::text from pg_proc as p
        where p.pronamespace::regnamespace::text in {SCHEMAS}
          and obj_description(p.oid, 'pg_proc') is null
        union all
        select c.oid::regclass::text from pg_class as c
        where c.relnamespace::regnamespace::text in {SCHEMAS} and c.relkind in ('r', 'p', 'v')
          and obj_description(c.oid, 'pg_class') is null and not c.relispartition
        """,
    )
    assert found == []


def test_every_table_has_row_security_and_a_primary_key(db):
    found = rows(
        db,
        """
        select c.oid::regclass::text from pg_class as c
        where c.relnamespace = 'tally'::regnamespace and c.relkind in ('r', 'p')
          and (not c.relrowsecurity
            or not exists (select from pg_constraint as k where k.conrelid = c.oid and k.contype = 'p'))
        """,
    )
    assert found == []


def test_no_table_has_a_trigger_and_foreign_keys_lead_to_tenants_alone(db):
    assert rows(db, "select tgname from pg_trigger where not tgisinternal") == []
    found = rows(
        db, "select distinct confrelid::regclass::text from pg_constraint where contype = 'f'"
    )
    assert found == ["tally.tenants"]


def test_views_run_with_the_rights_of_their_reader(db):
    found = rows(
        db,
        """
        select oid::regclass::text from pg_class
        where relnamespace::regnamespace::text in ('tally', 'api', 'bi') and relkind = 'v'
          and not coalesce(reloptions @> array['security_invoker=true'], false)
        """,
    )
    assert found == []


def test_no_role_of_ours_is_a_superuser_or_bypasses_row_security(db):
    found = rows(
        db,
        """
        select rolname::text from pg_roles
        where rolname like 'tally%' and (rolsuper or rolbypassrls or rolcreaterole or rolcreatedb)
        """,
    )
    assert found == []


def test_the_service_login_has_no_right_on_any_table(service_dsn, db):
    tables = rows(
        db,
        "select oid::regclass::text from pg_class where relnamespace = 'tally'::regnamespace and relkind in ('r', 'p', 'v')",
    )
    with psycopg.connect(service_dsn, autocommit=True) as connection:
        for table in tables:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f"select from {table}")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("call tally.fold()")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("set role tally_owner")


def test_the_service_login_makes_no_admin_key(service_dsn, new_tenant):
    with psycopg.connect(service_dsn, autocommit=True) as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("select * from tally.installation_key_create('x')")
        made = connection.execute("select * from api.key_create(null, 'x', array['admin'])")
        assert made.fetchall() == []


def test_a_bi_login_sees_its_tenant_whatever_it_sets(dsn, db, new_tenant):
    mine, other = new_tenant(), new_tenant()
    at = datetime(2024, 1, 1, tzinfo=UTC)
    ingest(db, mine, [Event(at, UUID(int=1), "mine")])
    ingest(db, other, [Event(at, UUID(int=2), "other")])
    db.execute("select tally.fold_tenant(%s)", (mine,))
    question = "select distinct event_type from bi.period_summaries"
    for name, sees in ((f"bi_{mine.hex}_test", [("mine",)]), (f"metabase_{mine.hex[:8]}", [])):
        db.execute(f"create role {name} login password 'x' in role tally_bi".encode())
        try:
            with psycopg.connect(
                make_conninfo(dsn, user=name, password="x"), autocommit=True
            ) as bi:
                assert bi.execute(question).fetchall() == sees
                for setting in (
                    f"set tally.tenant_id = '{other}'",
                    f"set session tally.tenant_id to '{other}'",
                ):
                    bi.execute(setting.encode())
                    assert bi.execute(question).fetchall() == sees
                for forbidden in (
                    "set role tally_tenant", "set role tally_owner", "select * from tally.receipts",
                    "select * from tally.api_keys", f"select api.event_count('{other}')",
                    "delete from tally.summaries", "create table public.x ()", "create temp table x ()",
                    "select tally.tenant_set_current(gen_random_uuid())", "select * from tally.events_default",
                    f"select tally.fold_tenant('{mine}')", "select rate_limits_per_minute from tally.tenants",
                ):  # fmt: skip
                    with pytest.raises(psycopg.errors.InsufficientPrivilege):
                        bi.execute(forbidden.encode())
        finally:
            db.execute(f"drop role {name}".encode())


def test_plpgsql_check_finds_nothing_in_any_function(db):
    """Functions are loaded without looking at their bodies; here each body is."""
    db.execute("create extension plpgsql_check")
    found = db.execute(
        f"""
        select p.oid::regprocedure::text, c.*
        from pg_proc as p
        cross join lateral plpgsql_check_function(
          p.oid, extra_warnings => true, security_warnings => true) as c
        where p.pronamespace::regnamespace::text in {SCHEMAS}
          and p.prolang = (select oid from pg_language where lanname = 'plpgsql')
        """
    ).fetchall()
    assert found == [], "\n".join(map(str, found))


def test_sql_bodies_compile(db):
    for (definition,) in db.execute(
        f"""
        select pg_get_functiondef(p.oid) from pg_proc as p
        where p.pronamespace::regnamespace::text in {SCHEMAS}
        """
    ).fetchall():
        db.execute(definition.encode())
