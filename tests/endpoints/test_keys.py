"""Keys: made, listed, rotated, revoked; who may do so; what is left behind."""

import time
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import httpx
import psycopg
import pytest

from tests.conftest import SERVICE_PASSWORD, make_conninfo, running_service, wait_for
from tests.endpoints.test_service import COUNT, problem


@pytest.fixture
def client(service):
    return service.tenant()


@pytest.fixture
def db(shared_dsn):
    with psycopg.connect(shared_dsn, autocommit=True) as connection:
        yield connection


def with_key(service, key):
    return httpx.Client(base_url=service.url, headers={"X-API-Key": key}, timeout=30)


def make_key(client, **fields):
    response = client.post("/keys", json={"name": "one", "scopes": ["read"], **fields})
    assert response.status_code == 201, response.text
    return response.json()


def test_a_key_is_shown_once_and_opens_its_scopes_only(service, client):
    made = make_key(client, name="dashboard")
    reader = with_key(service, made["apiKey"])
    assert reader.get(COUNT).status_code == 200
    problem(reader.post("/events", json={"type": "a"}), 403)
    problem(reader.get("/keys"), 403)
    listed = client.get("/keys")
    assert made["apiKey"] not in listed.text
    (found,) = [key for key in listed.json() if key["id"] == made["id"]]
    assert (found["name"], found["scopes"], found["prefix"]) == (
        "dashboard",
        ["read"],
        made["apiKey"][:16],
    )


def test_a_revoked_key_opens_nothing_a_second_later_in_any_process(service, client, shared_dsn):
    made = make_key(client)
    service_dsn = make_conninfo(shared_dsn, user="tally_service", password=SERVICE_PASSWORD)
    with running_service(service_dsn) as (other_url, _):
        readers = [
            with_key(service, made["apiKey"]),
            httpx.Client(base_url=other_url, headers={"X-API-Key": made["apiKey"]}),
        ]
        for reader in readers:
            assert reader.get(COUNT).status_code == 200
        revoked = client.delete(f"/keys/{made['id']}")
        assert revoked.status_code == 200
        time.sleep(1)
        for reader in readers:
            problem(reader.get(COUNT), 401)
    again = client.delete(f"/keys/{made['id']}")
    assert again.json() == revoked.json()


def test_rotation_lets_both_keys_work_until_the_overlap_ends(service, client):
    made = make_key(client, name="to rotate", scopes=["read", "ingest"])
    rotated = client.post(f"/keys/{made['id']}/rotate", json={"overlapSeconds": 2})
    assert rotated.status_code == 201
    successor = rotated.json()
    assert (successor["name"], sorted(successor["scopes"])) == ("to rotate", ["ingest", "read"])
    for key in (made["apiKey"], successor["apiKey"]):
        assert with_key(service, key).get(COUNT).status_code == 200
    time.sleep(3.1)
    problem(with_key(service, made["apiKey"]).get(COUNT), 401)
    assert with_key(service, successor["apiKey"]).get(COUNT).status_code == 200
    problem(client.post(f"/keys/{made['id']}/rotate"), 404)


def test_a_key_expires(service, client):
    soon = datetime.now(UTC) + timedelta(seconds=1)
    made = make_key(client, expiresAt=soon.isoformat())
    reader = with_key(service, made["apiKey"])
    assert reader.get(COUNT).status_code == 200
    time.sleep(2.1)
    problem(reader.get(COUNT), 401)
    body = {"name": "x", "scopes": ["read"], "expiresAt": "2020-01-01T00:00:00Z"}
    problem(client.post("/keys", json=body), 400)


@pytest.mark.parametrize(
    "body",
    [{}, {"name": "x"}, {"name": "x", "scopes": []}, {"name": "x", "scopes": ["root"]},
     {"name": "", "scopes": ["read"]}, {"name": "x", "scopes": ["read"], "expiresAt": "2099-01-01T00:00:00"},
     {"name": "x", "scopes": ["read"], "rateLimitsPerMinute": {"other": 1}}, {"name": "a\0", "scopes": ["read"]}],
)  # fmt: skip
def test_a_bad_key_is_refused(client, body):
    problem(client.post("/keys", json=body), 400)


def test_nobody_manages_the_keys_of_another_tenant(service, client):
    other = service.tenant()
    theirs = make_key(other)
    problem(client.delete(f"/keys/{theirs['id']}"), 404)
    problem(client.post(f"/keys/{theirs['id']}/rotate"), 404)
    problem(client.get("/keys", params={"tenantId": str(other.tenant_id)}), 403)
    assert theirs["id"] not in client.get("/keys").text
    assert with_key(service, theirs["apiKey"]).get(COUNT).status_code == 200


def test_an_installation_admin_manages_the_keys_of_any_tenant_and_their_limits(service, client):
    params = {"tenantId": str(client.tenant_id)}
    problem(service.admin.get("/keys"), 400)
    limited = {"name": "limited", "scopes": ["read"], "rateLimitsPerMinute": {"analytics": 3}}
    problem(client.post("/keys", json=limited), 403)
    made = service.admin.post("/keys", params=params, json=limited).json()
    reader = with_key(service, made["apiKey"])
    answers = [reader.get(COUNT) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    assert answers[0].headers["ratelimit-policy"] == '"analytics";q=3;w=60'
    assert client.get(COUNT).status_code == 200
    assert service.admin.delete(f"/keys/{made['id']}", params=params).status_code == 200


def test_a_tenants_limit_is_shared_by_its_keys_and_holds_at_once(service, client):
    second = with_key(service, make_key(client, scopes=["read"])["apiKey"])
    path = f"/tenants/{client.tenant_id}"
    changed = service.admin.patch(path, json={"rateLimitsPerMinute": {"analytics": 4}})
    assert changed.json()["rateLimitsPerMinute"] == {"analytics": 4}
    time.sleep(1)
    codes = [who.get(COUNT).status_code for _ in range(4) for who in (client, second)]
    assert codes.count(200) == 4
    service.admin.patch(path, json={"rateLimitsPerMinute": {"analytics": 0}})
    time.sleep(1)
    assert problem(client.get(COUNT), 429)["detail"] == "this key may make no analytics requests"


def test_tenants_are_listed_and_changed(service, client):
    path = f"/tenants/{client.tenant_id}"
    name = f"renamed {uuid4()}"
    changed = service.admin.patch(path, json={"name": name, "eventRetentionDays": 30}).json()
    assert (changed["name"], changed["eventRetentionDays"]) == (name, 30)
    assert service.admin.get(path).json() == changed
    assert service.admin.patch(path, json={}).json() == changed
    kept = service.admin.patch(path, json={"eventRetentionDays": None}).json()
    assert kept["eventRetentionDays"] is None
    assert name in [tenant["name"] for tenant in service.admin.get("/tenants").json()]
    before = name[:-1]
    (first,) = service.admin.get("/tenants", params={"after": before, "limit": 1}).json()
    assert first["name"] == name
    problem(service.admin.get(f"/tenants/{uuid4()}"), 404)
    problem(service.admin.patch(f"/tenants/{uuid4()}", json={"name": "x"}), 404)
    taken = service.tenant()
    other = service.admin.get(f"/tenants/{taken.tenant_id}").json()["name"]
    problem(service.admin.patch(path, json={"name": other}), 409)
    problem(client.get("/tenants"), 403)
    problem(client.patch(path, json={"rateLimitsPerMinute": {}}), 403)


def test_the_last_use_of_a_key_is_known_without_a_write_a_request(shared_dsn, service, db):
    client = service.tenant()
    made = make_key(client)
    service_dsn = make_conninfo(shared_dsn, user="tally_service", password=SERVICE_PASSWORD)
    written = "select n_tup_upd from pg_stat_user_tables where relname = 'api_keys'"
    with running_service(service_dsn) as (url, _):
        reader = httpx.Client(base_url=url, headers={"X-API-Key": made["apiKey"]})
        before = db.execute(written).fetchone()
        for _ in range(20):
            reader.get(COUNT)
        assert db.execute(written).fetchone() == before
    # The process told of it when it stopped.
    used = "select last_used_at > now() - interval '1 minute' from tally.api_keys where key_id = %s"
    wait_for(lambda: db.execute(used, (made["id"],)).fetchone() == (True,))


def test_administrative_acts_are_in_the_audit_log_and_no_secret_is(service, client, db):
    made = make_key(client)
    client.post(f"/keys/{made['id']}/rotate")
    client.delete(f"/keys/{made['id']}")
    client.post("/events", json={"type": "a", "actorId": "ann"})
    client.delete("/actors/ann")
    service.admin.patch(f"/tenants/{client.tenant_id}", json={"eventRetentionDays": 9})
    rows = db.execute(
        """
        select action, login, key_id is not null, details::text || subject
        from tally.audit_log where tenant_id = %s order by audit_id
        """,
        (client.tenant_id,),
    ).fetchall()
    assert [row[:3] for row in rows] == [
        (action, "tally_service", True)
        for action in (
            "tenant.create", "key.create", "key.create", "key.rotate", "key.create", "key.revoke",
            "actor.erase", "tenant.update",
        )
    ]  # fmt: skip
    assert not any("ann" in row[3] or made["apiKey"][17:60] in row[3] for row in rows)


def test_another_secret_with_the_public_start_of_a_key_is_refused(service, client, db):
    made = make_key(client)["apiKey"]
    forged = db.execute(
        "select %s || left(encode(sha256(%s::bytea), 'hex'), 6)",
        (made[:17] + "0" * 64, made[:17] + "0" * 64),
    ).fetchone()[0]
    problem(with_key(service, forged).get(COUNT), 401)
    assert with_key(service, made).get(COUNT).status_code == 200
