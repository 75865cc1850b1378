"""The command pgtally, as an operator types it."""

import re
import subprocess

import httpx
import psycopg
import pytest
from pgtally.cli.main import cli
from pgtally.cli.server import _other_database
from pgtally.dev.run import _shell_variables

from tests.conftest import ROOT, make_conninfo
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
    assert "no tenant has the id or name" in pgtally("tenant", "update", "nobody", code=1)
    pgtally("tenant", "update", "cli tenant", "--limit", "other=7", code=2)


def test_names_are_labels_and_an_ambiguous_one_asks_for_the_id(pgtally):
    first, second = (pgtally("tenant", "create", "cli label", "--json") for _ in range(2))
    ids = {first["tenant_id"], second["tenant_id"]}
    assert len(ids) == 2
    listed = pgtally("tenant", "list", "--json")
    assert {row["tenant_id"] for row in listed if row["name"] == "cli label"} == ids
    for command in (
        ["tenant", "delete", "cli label", "--confirm", "cli label"], ["verify", "cli label"],
        ["key", "create", "--tenant", "cli label"], ["bi-role", "create", "cli label", "x"],
        ["import", "--tenant", "cli label", "/dev/null"], ["tenant", "update", "cli label", "--no-limits"],
    ):  # fmt: skip
        refused = pgtally(*command, code=1)
        assert "several tenants are named 'cli label'" in refused
        assert all(one in refused for one in ids)
    pgtally("tenant", "delete", first["tenant_id"], "--confirm", "cli label")
    assert "differences" in pgtally("verify", "cli label")


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
        assert len(connection.execute(tables).fetchall()) == 10
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
    made = pgtally("bi-role", "create", "cli bi", "dbt", "--schema", "models", "--json")
    assert made["schema_name"] == f"bi_{tenant.replace('-', '')}_models"
    login = make_conninfo(shared_dsn, user=made["role_name"], password=made["password"])
    with psycopg.connect(login) as connection:
        connection.execute(f"create table {made['schema_name']}.x as select * from daily_summaries")
    refused = pgtally("bi-role", "create", "cli bi", "other", "--schema", "No Good", code=1)
    assert "lower-case" in refused
    assert [row["role_name"] for row in pgtally("bi-role", "list", "--json")].count(
        made["role_name"].replace("_dbt", "_other")
    ) == 0
    pgtally("bi-role", "drop", "--drop-owned", made["role_name"])
    pgtally("bi-role", "create", "cli bi", "Bad Label", code=1)
    pgtally("bi-role", "drop", "postgres", code=1)
    pgtally("bi-role", "password", "postgres", code=1)


def test_a_meter_is_made_filled_changed_and_deleted(pgtally, pgtally_process):
    pgtally("tenant", "create", "cli meter")
    events = "".join(
        f'{{"type": "sale", "occurredAt": "2025-01-0{n}T12:00:00Z", "value": {n},'
        f' "data": {{"plan": "{plan}", "tea": "{tea}"}}}}\n'
        for n, plan, tea in ((1, "pro", "matcha"), (2, "team", "sencha"), (3, "free", "sencha"))
    )
    pgtally_process("import", "--tenant", "cli meter", "-", stdin=events)
    filters = ("--filter", "plan=pro", "--filter", "plan=team", "--filter", "tea^=s")
    of = ("--tenant", "cli meter")
    made = pgtally(
        "meter", "create", "paid", *of, "--type", "sale", *filters, "--by", "data.tea", "--json"
    )
    assert made["version"] == 1
    assert "there is a meter" in pgtally("meter", "create", "paid", *of, code=1)
    pgtally("meter", "create", "bad", *of, "--filter", "plan", code=2)
    filled = pgtally("meter", "fill", "--json")
    assert (filled["failures"], filled["tenants"] >= 1) == (0, True)
    (found,) = pgtally("meter", "list", *of, "--json")
    assert (found["state"], found["dimensions"]) == ("complete", ["data.tea"])
    values = {one["key"]: one["value"] for one in found["filters"]}
    assert values == {"plan": ["pro", "team"], "tea": "s"}
    changed = pgtally("meter", "update", "paid", *of, "--max-groups", "7", "--json")
    assert changed["version"] == 2
    newest, first = pgtally("meter", "list", *of, "--json")
    assert (newest["max_groups"], first["max_groups"]) == (7, 100)
    assert newest["filters"] == first["filters"]
    for flag, wanted in (("--percentiles", True), ("--no-percentiles", False)):
        pgtally("meter", "update", "paid", *of, flag)
        assert pgtally("meter", "list", *of, "--json")[0]["percentiles"] is wanted
    assert newest["event_types"] == ["sale"]
    assert "no meter" in pgtally("meter", "update", "other", *of, code=1)
    would = pgtally("meter", "delete", "paid", *of, "--dry-run", "--json")
    assert would["versions"] == 4
    assert len(pgtally("meter", "list", *of, "--json")) == 4
    pgtally("meter", "delete", "paid", *of)
    assert pgtally("meter", "list", *of, "--json") == []


def test_a_database_that_is_away_or_without_pgtally_is_named_in_a_line(pgtally_process, shared_dsn):
    away = make_conninfo(shared_dsn, port=1)
    error = pgtally_process("tenant", "list", "--dsn", away, code=1)
    assert "Traceback" not in error
    error = pgtally_process(
        "tenant", "list", "--dsn", make_conninfo(shared_dsn, dbname="template1"), code=1
    )
    assert "pgtally migrate" in error


def test_a_refusal_is_one_plain_line_in_a_log(pgtally_process):
    pgtally_process("tenant", "create", "cli twice")
    for arguments, line in (
        (["tenant", "create", "cli zone", "--time-zone", "Nowhere"], 'unknown time zone "Nowhere". Use an IANA name such as Europe/Berlin or UTC.'),
        (["tenant", "create", "cli week", "--week-start", "9"], "a week starts on an ISO weekday, 1 Monday to 7 Sunday"),
        (["bi-role", "create", "cli twice", "Bad Label"], "a label has 1 to 27 lower-case letters, digits and underscores"),
        (["verify", "nobody"], "no tenant has the id or name 'nobody'"),
    ):  # fmt: skip
        assert pgtally_process(*arguments, code=1, COLUMNS="80") == f"Error: {line}\n"
    lines = pgtally_process("tenant", "create", code=2, COLUMNS="80").splitlines()
    assert lines[-1] == "Error: Missing argument 'NAME'."


def test_what_goes_into_a_pipe_holds_no_progress_bar(pgtally_process):
    made = pgtally_process("tenant", "create", "cli pipe", "--json")["tenant_id"]
    assert pgtally_process("verify", made) == "1 tenants, 0 differences\n"
    assert pgtally_process("rebuild", made).split() == ["days", "0", "changed", "0"]


def test_the_doctor_acknowledges_what_was_healed_if_asked_with_a_reason(shared_dsn):
    with psycopg.connect(shared_dsn, autocommit=True) as db:
        db.execute(
            "insert into tally.job_runs (job, finished_at, healed_count) values ('x', now(), 3)"
        )
        assert re.search("failed +healed summaries: [0-9]+ summary rows", run_doctor(shared_dsn))
        told = run_doctor(shared_dsn, "--acknowledge", "for this test")
        assert re.search("ok +healed summaries: 0 summary rows", told)
        (subject,) = db.execute(
            "select subject from tally.audit_log where action = 'healed.acknowledge'"
        ).fetchone()
        assert subject == "for this test"


def test_the_doctor_tells_partitions_that_are_well_in_one_line(pgtally, shared_dsn):
    # Others may be late; what is said does not depend on that.
    told = run_doctor(shared_dsn)
    weeks = [line for line in told.splitlines() if "of events_2" in line]
    (folded,) = [line for line in told.splitlines() if "partitions of events" in line]
    assert weeks == []
    assert re.search(r"ok +row security of \d+ partitions of events: ", folded)
    with psycopg.connect(shared_dsn, autocommit=True) as db:
        name, count = db.execute(
            """
            select min(c.relname), count(*) from pg_class as c
            where c.relname ~ '^events_[0-9]{8}$' and c.relnamespace = 'tally'::regnamespace
            """
        ).fetchone()
        assert f"of {count:,} partitions" in folded
        db.execute(f"alter table tally.{name} disable row level security".encode())
        told = run_doctor(shared_dsn)
        db.execute(f"alter table tally.{name} enable row level security".encode())
    assert re.search(f"missing +row security of {name}: ", told)
    assert f"of {count - 1:,} partitions" in told


def run_doctor(dsn, *more):
    return subprocess.run(
        [".venv/bin/pgtally", "doctor", "--dsn", dsn, *more],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout


def test_the_file_that_run_writes_names_the_database_and_finds_the_command(tmp_path):
    tenant = {"name": "first", "id": "t", "apiKey": "k"}
    published = {
        "dsn": "host='/a b' dbname=x",
        "url": "u",
        "installationKey": "i",
        "tenants": [tenant],
    }
    (tmp_path / "env").write_text(_shell_variables(published))
    told = subprocess.run(
        ["sh", "-c", '. ./env; echo "$PGTALLY_ADMIN_DSN"; command -v pgtally; command -v sh'],
        cwd=tmp_path, capture_output=True, text=True, check=True, env={"PATH": "/usr/bin:/bin"},
    ).stdout.splitlines()  # fmt: skip
    assert told[0] == published["dsn"]
    assert told[1].endswith("/.venv/bin/pgtally")
    assert told[2] in ("/usr/bin/sh", "/bin/sh")


def test_a_shell_that_has_read_that_file_may_run_it_again(tmp_path, monkeypatch):
    (tmp_path / "dev.json").write_text('{"dsn": "port=1"}')
    monkeypatch.setenv("PGTALLY_ADMIN_DSN", "port=1")
    assert _other_database(tmp_path) == "port=1"
    (tmp_path / "cluster").symlink_to(tmp_path)
    assert _other_database(tmp_path) is None
    monkeypatch.setenv("PGTALLY_ADMIN_DSN", "port=2")
    assert _other_database(tmp_path) == "port=2"


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
