"""Rules that hold for every table and function, read from the catalog."""

import importlib
import pkgutil
import re

import psycopg
import pytest

import service

SCHEMAS = "('tally', 'api')"


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


def test_every_function_that_takes_a_tenant_first_is_strict_except_those_that_need_null(db):
    found = rows(
        db,
        """
        select p.proname::text from pg_proc as p
        where p.pronamespace = 'api'::regnamespace
          and p.proargnames[1] = 'p_tenant' and not p.proisstrict
        """,
    )
    assert found == ["key_create"]


def test_every_function_table_and_view_has_a_comment(db):
    found = rows(
        db,
        f"""
        select p.oid::regprocedure::text from pg_proc as p
        where p.pronamespace::regnamespace::text in {SCHEMAS}
          and obj_description(p.oid, 'pg_proc') is null
        union all
        select c.oid::regclass::text from pg_class as c
        where c.relnamespace = 'tally'::regnamespace and c.relkind in ('r', 'p', 'v')
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


def test_no_table_has_a_trigger_and_only_api_keys_a_foreign_key(db):
    assert rows(db, "select tgname from pg_trigger where not tgisinternal") == []
    found = rows(db, "select conrelid::regclass::text from pg_constraint where contype = 'f'")
    assert found == ["tally.api_keys"]


def test_views_run_with_the_rights_of_their_reader(db):
    found = rows(
        db,
        """
        select oid::regclass::text from pg_class
        where relnamespace = 'tally'::regnamespace and relkind = 'v'
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


def test_every_statement_of_the_service_is_one_call_that_its_login_may_make(service_dsn):
    statements = {}
    for module in pkgutil.iter_modules(service.__path__):
        if module.name in ("bootstrap", "cli", "run", "load", "migrate", "cluster", "demo"):
            continue
        loaded = importlib.import_module(f"service.{module.name}")
        for name, value in vars(loaded).items():
            if name.isupper() and isinstance(value, str) and re.match(r"\s*select", value):
                statements[f"{module.name}.{name}"] = value
    assert len(statements) >= 8
    with psycopg.connect(service_dsn, autocommit=True) as connection:
        for text in statements.values():
            count = 0

            def number(_: re.Match[str]) -> str:
                nonlocal count
                count += 1
                return f"${count}"

            numbered = re.sub(r"%\(\w+\)s", number, text)
            connection.execute(f"prepare statement as {numbered}".encode())
            connection.execute("deallocate statement")
            assert re.search(r"from\s+api\.\w+\(", text)
            assert not re.search(r"tally\.", text)


def test_plpgsql_bodies_compile(db):
    """Functions are loaded without looking at their bodies; here each body is parsed."""
    for (definition,) in db.execute(
        f"""
        select pg_get_functiondef(p.oid) from pg_proc as p
        where p.pronamespace::regnamespace::text in {SCHEMAS}
        """
    ).fetchall():
        db.execute(definition.encode())
