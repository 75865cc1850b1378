"""Clients and data of the NestJS service that pgtally takes the place of: see the how-to."""

import os
import re
import subprocess
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.conftest import ROOT

HOW_TO = (ROOT / "docs" / "how-to" / "move-from-nestjs.md").read_text()


@pytest.fixture
def client(service):
    return service.tenant(timeZone="Asia/Tokyo")


def test_a_period_is_found_by_the_instant_that_its_clients_send(client):
    sent = [
        {"type": "sale", "occurredAt": f"2024-01-{day:02}T03:00:00.000Z"} for day in (1, 1, 2, 31)
    ]
    assert client.post("/events/bulk", json=sent).status_code == 201
    for period_type, instant, count in (
        ("day", "2024-01-01T00:00:00.000Z", 2), ("day", "2024-01-01T14:59:59.999Z", 2),
        ("day", "2024-01-01T15:00:00.000Z", 1), ("month", "2024-01-01T00:00:00.000Z", 4),
        ("week", "2024-01-01T00:00:00.000Z", 3),
    ):  # fmt: skip
        asked = {"metric": "sale", "periodType": period_type, "periodStart": instant}
        assert client.get("/summaries", params=asked).json()["count"] == count, asked


def bulk(client, events, *preferences, **headers):
    headers["Prefer"] = ", ".join(("return=representation", *preferences))
    answer = client.post("/events/bulk", json=events, headers=headers)
    assert answer.status_code == 201, answer.text
    return answer


def test_a_batch_is_answered_with_its_events_where_that_is_preferred(client):
    sent = [
        {"type": "sale", "occurredAt": f"2024-01-01T00:00:0{n}Z", "value": n / 2, "data": {"n": n}}
        for n in range(3)
    ]
    answer = bulk(client, sent)
    assert answer.headers["preference-applied"] == "return=representation"
    events = answer.json()
    assert [event["data"] for event in events] == [{"n": 0}, {"n": 1}, {"n": 2}]
    stored = client.get("/events", params={"type": "sale"}).json()["events"]
    fields = ("id", "type", "occurredAt", "actorId", "sessionId", "value", "data")
    assert [{name: one[name] for name in fields} for one in reversed(stored)] == events
    # Once more with the ids: nothing is new, and all is as it was sent.
    assert bulk(client, events).json() == events
    assert client.get("/analytics/events/count").json() == {"total": 3}


def test_a_receipt_is_given_where_not_all_is_stored_as_it_was_sent(client):
    first, second = bulk(client, [{"type": "a"}, {"type": "b"}]).json()
    conflicting = bulk(client, [{**first, "type": "c"}, second])
    assert "preference-applied" not in conflicting.headers
    assert conflicting.json() == {"accepted": 0, "duplicates": 2, "conflicts": 1}
    lenient = bulk(client, [{"type": ""}, {"type": "d"}], "handling=lenient")
    assert lenient.headers["preference-applied"] == "handling=lenient"
    assert (lenient.json()["accepted"], lenient.json()["rejected"]) == (1, 1)
    key = {"Idempotency-Key": str(uuid4())}
    assert len(bulk(client, [{"type": "e"}], **key).json()) == 1
    # The ids of the first time are not kept, and others would be wrong.
    again = bulk(client, [{"type": "e"}], **key)
    assert (again.headers["idempotency-replayed"], again.json()["accepted"]) == ("true", 1)
    assert client.get("/analytics/events/count?type=e").json() == {"total": 1}


TABLES = """
  create table tenants (
    id uuid primary key default gen_random_uuid(), name text not null, "apiKey" text not null,
    "createdAt" timestamptz not null default now());
  create table events (
    id serial primary key, "tenantId" uuid not null references tenants, type text not null,
    "occurredAt" timestamptz not null, "createdAt" timestamptz not null default now(),
    data jsonb not null);
  insert into tenants (name, "apiKey") values ('Tea | House', 'k1'), ('Twin', 'k2'), ('Twin', 'k3');
  insert into events ("tenantId", type, "occurredAt", "createdAt", data)
  select
    t.id, (array['sale', 'it''s'])[1 + i % 2], timestamptz '2024-02-01 00:00:00.123456+00' + i * interval '7 min',
    timestamptz '2024-02-01 00:00:05+00' + i * interval '7 min',
    jsonb_build_object('n', i, 'text', E'a\\\\b "c"\\té\\nd')
  from tenants as t cross join generate_series(1, 300) as i;
"""
LATER = """
  insert into events ("tenantId", type, "occurredAt", data)
  select id, 'late', timestamptz '2024-01-31 23:00:00+00', '{}' from tenants
"""


def steps():
    """The shell commands of the how-to, by the heading they stand under."""
    blocks = re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", HOW_TO, re.M | re.S)
    return {
        heading: "\n".join(re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S))
        for heading, text in blocks
    }


def test_the_how_to_moves_all_tenants_and_importing_once_more_stores_nothing_twice(
    pgtally, shared_dsn, tmp_path
):
    name = conninfo_to_dict(shared_dsn)["dbname"] + "_nestjs"
    with psycopg.connect(shared_dsn, autocommit=True) as db:
        db.execute(f"drop database if exists {name}".encode())
        db.execute(f"create database {name} template template0".encode())
        old = make_conninfo(shared_dsn, dbname=name)
        path = f"{ROOT}/.venv/bin:{os.environ['PGTALLY_TEST_BIN']}:{os.environ['PATH']}"
        environment = {**os.environ, "OLD": old, "PGTALLY_ADMIN_DSN": shared_dsn, "PATH": path}

        def shell(script):
            done = subprocess.run(
                ["sh", "-eu", "-c", script], cwd=tmp_path, env=environment, capture_output=True,
                text=True, timeout=120, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stdout + done.stderr
            return done.stdout

        how = steps()
        try:
            with psycopg.connect(old, autocommit=True) as connection:
                connection.execute(TABLES.encode())
                shell(how["The tenants"])
                assert shell(how["The history"]).count("300 new, 0 duplicates, 0 bad") == 3
                # Writers still have the old address.
                connection.execute(LATER.encode())
                assert shell(how["The cut-over"]).count("1 new, 0 duplicates, 0 bad") == 3
                assert shell(how["The history"]).count("0 new, 301 duplicates, 0 bad") == 3
                rows = connection.execute(
                    """
                    select "tenantId", type, "occurredAt", data from events
                    order by "tenantId", "occurredAt", id
                    """
                ).fetchall()
                names = dict(connection.execute("select id, name from tenants").fetchall())
            of = [line.split("\t") for line in (tmp_path / "tenants.tsv").read_text().splitlines()]
            moved = {UUID(old_id): UUID(new_id) for old_id, new_id in of}
            assert len(moved) == 3
            for old_id, new_id in moved.items():
                stored = db.execute(
                    """
                    select event_type, occurred_at, data from tally.events
                    where tenant_id = %s order by occurred_at, event_id
                    """,
                    (new_id,),
                ).fetchall()
                assert stored == [row[1:] for row in rows if row[0] == old_id]
                assert len(stored) == 301
                called = db.execute(
                    "select name from tally.tenants where tenant_id = %s", (new_id,)
                )
                assert called.fetchone() == (names[old_id],)
        finally:
            db.execute(f"drop database {name} with (force)".encode())
