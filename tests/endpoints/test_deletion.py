"""DELETE /tenants/{id} and `pgtally tenant delete`: who may, what is told, what is left."""

import json
import subprocess
import time
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest

from tests.conftest import ROOT, wait_for
from tests.endpoints.test_service import COUNT, problem


@pytest.fixture
def db(shared_dsn):
    with psycopg.connect(shared_dsn, autocommit=True) as connection:
        yield connection


def name_of(service, tenant):
    return service.admin.get(f"/tenants/{tenant}").json()["name"]


def send(client, count=20):
    events = [{"type": "a", "occurredAt": f"2024-05-01T10:00:{n:02}Z"} for n in range(count)]
    assert client.post("/events/bulk", json=events).json()["accepted"] == count


def delete(service, tenant, name):
    return service.admin.delete(f"/tenants/{tenant}", params={"name": name})


def test_a_tenant_is_deleted_and_its_certificate_stays(service):
    client = service.tenant()
    send(client)
    name = name_of(service, client.tenant_id)
    path = f"/tenants/{client.tenant_id}"
    problem(service.admin.get(f"{path}/deletion"), 404)
    gone = delete(service, client.tenant_id, name)
    assert gone.status_code == 200
    told = gone.json()
    assert (told["id"], told["state"], told["events"]) == (client.tenant_id, "done", 20)
    assert told["firstOccurredAt"] == "2024-05-01T10:00:00Z"
    assert told["lastOccurredAt"] == "2024-05-01T10:00:19Z"
    assert told["requestedAt"] < told["finishedAt"]
    assert told["loginsLeft"] == []
    assert service.admin.get(f"{path}/deletion").json() == told
    assert name not in service.admin.get(f"{path}/deletion").text
    # Repeated, with whatever name: it is gone.
    assert delete(service, client.tenant_id, name).json() == told
    for answer in (service.admin.get(path), service.admin.patch(path, json={"name": "x"})):
        assert problem(answer, 410)["detail"] == "the tenant was deleted"
    assert client.tenant_id not in service.admin.get("/tenants").text
    time.sleep(1.1)
    for answer in (client.get(COUNT), client.post("/events", json={"type": "a"})):
        problem(answer, 401)
    again = service.admin.post("/tenants", json={"name": name})
    assert again.status_code == 201


def test_the_name_has_to_be_repeated_exactly(service):
    client = service.tenant()
    path = f"/tenants/{client.tenant_id}"
    for query in ({}, {"name": ""}, {"name": "another"}):
        body = problem(service.admin.delete(path, params=query), 400)
        assert body["errors"][0]["parameter"] == "name"
        assert "takes the name as well as the id" in body["detail"]
    problem(service.admin.delete(path, params={"name": "x", "force": "1"}), 400)
    problem(service.admin.delete(f"/tenants/{uuid4()}", params={"name": "x"}), 404)
    assert client.get(COUNT).json() == {"total": 0}


def test_a_tenants_own_admin_key_cannot_delete_a_tenant(service, db):
    client, other = service.tenant(), service.tenant()
    for tenant in (client, other):
        path = f"/tenants/{tenant.tenant_id}"
        name = name_of(service, tenant.tenant_id)
        problem(client.delete(path, params={"name": name}), 403)
        problem(client.get(f"{path}/deletion"), 403)
        problem(httpx.delete(service.url + path, params={"name": name}), 401)
        assert tenant.get(COUNT).status_code == 200
    assert db.execute(
        "select count(*) from tally.tenant_deletions where tenant_id = any (%s)",
        ([UUID(client.tenant_id), UUID(other.tenant_id)],),
    ).fetchone() == (0,)


def test_while_rows_are_left_the_answer_is_202_and_every_request_410(service, db):
    client = service.tenant()
    send(client)
    name = name_of(service, client.tenant_id)
    with psycopg.connect(db.info.dsn, password=db.info.password) as writer:
        # Somebody's ingest, which is not at its end.
        writer.execute(
            "select * from api.events_ingest_json(%s, %s)",
            (
                client.tenant_id,
                json.dumps([{"type": "slow", "occurredAt": "2024-06-01T00:00:00Z"}]),
            ),
        )
        answer = delete(service, client.tenant_id, name)
        assert (answer.status_code, answer.json()["state"]) == (202, "marked")
        for left in (
            client.get(COUNT), client.post("/events", json={"type": "a"}), client.get("/keys"),
            client.post("/events/bulk", json=[{"type": "a"}]), client.post("/keys", json={}),
            client.get("/events/export"), client.delete("/actors/ann"), client.get("/summaries"),
            client.post("/v1/track", json={"event": "x", "userId": "u"}),
        ):  # fmt: skip
            # At once, also with a key that a process remembers.
            assert left.status_code == 410, left.url
        time.sleep(1.1)
        assert problem(client.get(COUNT), 410)["detail"] == "the tenant was deleted"
        problem(delete(service, client.tenant_id, "wrong"), 400)
        # The name is free at once: it is a label.
        assert service.admin.post("/tenants", json={"name": name}).status_code == 201
        writer.commit()
    done = delete(service, client.tenant_id, name)
    assert (done.status_code, done.json()["events"]) == (200, 21)


def test_maintain_finishes_what_http_has_begun(service, db):
    client = service.tenant()
    send(client)
    with psycopg.connect(db.info.dsn, password=db.info.password) as writer:
        writer.execute("select pg_advisory_xact_lock(tally.ingest_lock(%s))", (client.tenant_id,))
        answer = delete(service, client.tenant_id, name_of(service, client.tenant_id))
        assert answer.status_code == 202
    db.execute("call tally.maintain()")
    found = service.admin.get(f"/tenants/{client.tenant_id}/deletion").json()
    assert (found["state"], found["events"]) == ("done", 20)


def test_the_command_deletes_with_confirmation_by_name_or_id(pgtally, pgtally_process, db):
    made = pgtally("tenant", "create", "to delete", "--json")
    pgtally("bi-role", "create", "to delete", "superset")
    rows = "".join(
        json.dumps({"type": "a", "occurredAt": f"2024-05-01T10:{n // 60:02}:{n % 60:02}Z"}) + "\n"
        for n in range(2000)
    )
    pgtally_process("import", "--tenant", "to delete", stdin=rows)
    pgtally("tenant", "delete", "to delete", code=2)
    assert "is not the name of the" in pgtally(
        "tenant", "delete", "to delete", "--confirm", "todelete", code=1
    )
    assert "no tenant has the id or name" in pgtally(
        "tenant", "delete", "nobody", "--confirm", "nobody", code=1
    )
    told = pgtally(
        "tenant", "delete", "to delete", "--confirm", "to delete", "--batch", 100, "--json"
    )
    assert (told["state"], told["event_count"], told["logins_left"]) == ("done", 2000, [])
    (listed,) = [
        row
        for row in pgtally("tenant", "deletions", "--json")
        if row["tenant_id"] == made["tenant_id"]
    ]
    assert (listed["state"], listed["name"]) == ("done", None)
    again = pgtally("tenant", "delete", made["tenant_id"], "--confirm", "whatever", "--json")
    assert again == told
    assert "was deleted" in pgtally("verify", made["tenant_id"], code=1)
    pgtally("verify")


def test_a_command_that_is_killed_is_run_again_by_name(pgtally, db, shared_dsn):
    name = f"killed {uuid4()}"
    tenant = pgtally("tenant", "create", name, "--json")["tenant_id"]
    db.execute(
        """
        select * from api.events_ingest_json(%s, (
          select json_agg(json_build_object(
            'type', 'a', 'occurredAt', timestamptz '2024-01-01' + n * interval '1 hour'))
          from generate_series(1, 5000) as n))
        """,
        (tenant,),
    )
    arguments = ["tenant", "delete", name, "--confirm", name, "--batch", "1"]
    process = subprocess.Popen(
        [".venv/bin/pgtally", *arguments, "--dsn", shared_dsn],
        cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    progress = "select event_count + summary_count from tally.tenant_deletions where tenant_id = %s"
    steps = "select count(*) from tally.summary_deltas where tenant_id = %s"
    wait_for(lambda: db.execute(progress, (tenant,)).fetchone())
    wait_for(lambda: db.execute(steps, (tenant,)).fetchone()[0] < 4990)
    process.kill()
    process.wait()
    assert db.execute("select state from tally.tenant_deletion(%s)", (tenant,)).fetchone() == (
        "removing",
    )
    told = pgtally("tenant", "delete", name, "--confirm", name, "--json")
    assert (told["state"], told["event_count"]) == ("done", 5000)
