"""The command pgtally, as an operator types it."""

import httpx
import psycopg
import pytest
from pgtally.cli.main import cli

from tests.conftest import make_conninfo
from tests.endpoints.test_service import COUNT


def test_a_tenant_is_made_listed_and_changed(pgtally, service):
    made = pgtally("tenant", "create", "cli tenant", "--time-zone", "Asia/Tokyo", "--json")
    assert made["time_zone"] == "Asia/Tokyo"
    headers = {"X-API-Key": made["api_key"]}
    assert httpx.get(service.url + COUNT, headers=headers).json() == {"total": 0}
    assert "cli tenant" in pgtally("tenant", "list")
    changed = pgtally(
        "tenant", "update", "cli tenant", "--limit", "bulk=7", "--retention-days", "5", "--json"
    )
    assert (changed["rate_limits_per_minute"], changed["event_retention_days"]) == ({"bulk": 7}, 5)
    cleared = pgtally(
        "tenant", "update", "cli tenant", "--no-limits", "--retention-days", "0", "--json"
    )
    assert (cleared["rate_limits_per_minute"], cleared["event_retention_days"]) == ({}, None)
    pgtally("tenant", "set-calendar", made["tenant_id"], "Europe/Berlin", "--week-start", "7")
    (found,) = [
        row for row in pgtally("tenant", "list", "--json") if row["tenant_id"] == made["tenant_id"]
    ]
    assert (found["time_zone"], found["week_start"]) == ("Europe/Berlin", 7)
    quotas = ("--quota", "events=5", "--quota", "rejectedBytes=9")
    changed = pgtally("tenant", "update", "cli tenant", *quotas, "--json")
    assert changed["quotas"] == {"events": 5, "rejectedBytes": 9}
    assert pgtally("tenant", "update", "cli tenant", "--json")["quotas"] == changed["quotas"]
    assert pgtally("tenant", "update", "cli tenant", "--no-quotas", "--json")["quotas"] == {}
    pgtally("tenant", "update", "cli tenant", "--quota", "bulk=7", code=2)
    assert "exists" in pgtally("tenant", "create", "cli tenant", code=1)
    assert "no tenant has the id or name" in pgtally("tenant", "update", "nobody", code=1)
    pgtally("tenant", "update", "cli tenant", "--limit", "other=7", code=2)


def test_keys_are_made_rotated_and_revoked(pgtally, service):
    pgtally("tenant", "create", "cli keys")
    made = pgtally("key", "create", "--tenant", "cli keys", "--scope", "read", "--json")

    def status(key):
        return httpx.get(service.url + COUNT, headers={"X-API-Key": key["api_key"]}).status_code

    assert status(made) == 200
    successor = pgtally(
        "key", "rotate", made["key_id"], "--tenant", "cli keys", "--overlap-hours", "0.5", "--json"
    )
    assert status(successor) == 200
    third = pgtally("key", "create", "--tenant", "cli keys", "--json")
    pgtally("key", "revoke", third["key_id"], "--tenant", "cli keys")
    assert status(third) == 401
    listed = pgtally("key", "list", "--tenant", "cli keys", "--json")
    assert [row["revoked_at"] is not None for row in listed] == [True, False, False, False]
    assert "no such key" in pgtally(
        "key", "revoke", made["key_id"][:-1] + "f", "--tenant", "cli keys", code=1
    ) or made["key_id"].endswith("f")
    pgtally("key", "create", code=2)


def test_a_lost_key_of_the_installation_is_replaced_by_who_has_the_database(pgtally, service):
    made = pgtally("key", "create", "--installation", "--name", "new one", "--json")
    headers = {"X-API-Key": made["api_key"]}
    assert httpx.get(service.url + "/tenants", headers=headers).status_code == 200
    assert "new one" in pgtally("key", "list", "--installation")
    pgtally("key", "revoke", "--installation", made["key_id"])
    (row,) = [
        row
        for row in pgtally("key", "list", "--installation", "--json")
        if row["key_id"] == made["key_id"]
    ]
    assert row["revoked_at"]


def test_a_bi_login_is_made_used_listed_and_dropped(pgtally, shared_dsn):
    tenant = pgtally("tenant", "create", "cli bi", "--json")["tenant_id"]
    made = pgtally("bi-role", "create", "cli bi", "superset", "--connection-limit", "2", "--json")
    assert made["role_name"] == f"bi_{tenant.replace('-', '')}_superset"
    login = make_conninfo(shared_dsn, user=made["role_name"], password=made["password"])
    with psycopg.connect(login) as connection:
        # The views are found at once, without a schema.
        tables = "select table_name from information_schema.tables where table_schema = 'bi'"
        assert len(connection.execute(tables).fetchall()) == 5
        connection.execute("select * from daily_summaries")
        with psycopg.connect(login), pytest.raises(psycopg.OperationalError, match="too many"):
            psycopg.connect(login)
        (row,) = [
            row
            for row in pgtally("bi-role", "list", "--json")
            if row["role_name"] == made["role_name"]
        ]
        assert (row["tenant_name"], row["connections"]) == ("cli bi", 1)
        assert "exists" in pgtally("bi-role", "create", "cli bi", "superset", code=1)
        changed = pgtally("bi-role", "password", made["role_name"], "--json")
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(login)
        login = make_conninfo(login, password=changed["password"])
        psycopg.connect(login).close()
        with psycopg.connect(shared_dsn, autocommit=True) as db:
            db.execute(f"create schema cli_models authorization {made['role_name']}".encode())
        refused = pgtally("bi-role", "drop", made["role_name"], code=1, COLUMNS="1000")
        assert "schema cli_models" in refused
        assert "--drop-owned" in refused
        pgtally("bi-role", "drop", "--drop-owned", made["role_name"])
        with pytest.raises(psycopg.OperationalError):
            connection.execute("select 1")
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(login)
    pgtally("bi-role", "create", "cli bi", "Bad Label", code=1)
    pgtally("bi-role", "drop", "postgres", code=1)
    pgtally("bi-role", "password", "postgres", code=1)


def test_a_database_that_is_away_or_without_pgtally_is_named_in_a_line(pgtally, shared_dsn):
    away = make_conninfo(shared_dsn, port=1)
    error = pgtally("tenant", "list", "--dsn", away, code=1)
    assert "Traceback" not in error
    error = pgtally(
        "tenant", "list", "--dsn", make_conninfo(shared_dsn, dbname="template1"), code=1
    )
    assert "pgtally migrate" in error


def test_every_command_says_what_it_does():
    def walk(command, path):
        assert command.help, path
        for name, inner in getattr(command, "commands", {}).items():
            walk(inner, f"{path} {name}")
        for parameter in command.params:
            assert getattr(parameter, "help", None) or parameter.param_type_name == "argument", (
                path, parameter.name,
            )  # fmt: skip

    walk(cli, "pgtally")
