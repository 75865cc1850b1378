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


# What the holder of a key may make of it


def installed_key(service, client, **fields):
    """A client with a key that the installation made for the tenant, with limits for example."""
    made = service.admin.post(
        "/keys",
        params={"tenantId": client.tenant_id},
        json={"name": "given", "scopes": ["admin", "read"], **fields},
    )
    assert made.status_code == 201, made.text
    found = with_key(service, made.json()["apiKey"])
    found.key_id = made.json()["id"]
    return found


def granted(*clients, tries):
    """How many of the questions that each asks in turn are answered."""
    return sum(who.get(COUNT).status_code == 200 for _ in range(tries) for who in clients)


def test_rotating_a_limited_key_over_and_over_gives_no_more_requests(service, client):
    keys = [installed_key(service, client, rateLimitsPerMinute={"analytics": 6})]
    for _ in range(3):
        rotated = keys[-1].post(f"/keys/{keys[-1].key_id}/rotate").json()
        assert rotated["rateLimitsPerMinute"] == {"analytics": 6}
        keys.append(with_key(service, rotated["apiKey"]))
        keys[-1].key_id = rotated["id"]
    # A token comes back each ten seconds.
    assert 6 <= granted(*keys, tries=3) <= 7
    # Whose bucket is empty has not emptied that of the tenant's other keys.
    assert client.get(COUNT).status_code == 200


def test_the_keys_that_a_limited_key_makes_count_with_it(service, client):
    maker = installed_key(service, client, rateLimitsPerMinute={"analytics": 6})
    keys = [maker]
    for n in range(3):
        made = make_key(keys[n], scopes=["admin", "read"])
        assert made["rateLimitsPerMinute"] == {"analytics": 6}
        keys.append(with_key(service, made["apiKey"]))
    assert 6 <= granted(*keys, tries=3) <= 7


def test_a_key_that_may_not_ask_makes_none_that_may(service, client):
    maker = installed_key(service, client, rateLimitsPerMinute={"analytics": 0, "ingest": 9})
    made = make_key(maker)
    assert made["rateLimitsPerMinute"] == {"analytics": 0, "ingest": 9}
    reader = with_key(service, made["apiKey"])
    problem(reader.get(COUNT), 429)
    for limits in ({"analytics": 1}, {"analytics": 0, "ingest": 10}):
        body = {"name": "x", "scopes": ["read"], "rateLimitsPerMinute": limits}
        said = problem(maker.post("/keys", json=body), 403)
        assert "this key is limited to" in said["detail"], said
        assert said["errors"][0]["pointer"] == "/rateLimitsPerMinute"
    # Below its own would be a bucket beside its own; above none would be one beside the tenant's.
    for maker_, limits in ((maker, {"ingest": 8}), (client, {"ingest": 1}), (maker, {"bulk": 1})):
        body = {"name": "x", "scopes": ["read"], "rateLimitsPerMinute": limits}
        said = problem(maker_.post("/keys", json=body), 403)
        assert "only a key of the installation sets rate limits" in said["detail"]
    less = make_key(maker, rateLimitsPerMinute={"ingest": 0, "summaries": 0})
    assert less["rateLimitsPerMinute"] == {"analytics": 0, "ingest": 0, "summaries": 0}


def test_a_key_hands_out_no_scope_that_it_lacks(service, client):
    maker = with_key(service, make_key(client, scopes=["admin"])["apiKey"])
    for scopes in (["ingest"], ["read"], ["admin", "read"]):
        said = problem(maker.post("/keys", json={"name": "x", "scopes": scopes}), 403)
        assert f"lacks the scope {scopes[-1]}" in said["detail"]
        assert said["errors"][0]["pointer"] == "/scopes"
    assert make_key(maker, scopes=["admin"])["scopes"] == ["admin"]
    # The first key of a tenant has them all.
    assert len(make_key(client, scopes=["ingest", "read", "admin"])["scopes"]) == 3


def test_a_key_that_expires_makes_none_that_lives_longer(service, client):
    end = datetime.now(UTC) + timedelta(hours=1)
    made = make_key(client, scopes=["admin"], expiresAt=end.isoformat())
    maker = with_key(service, made["apiKey"])
    assert made["expiresAt"] is not None
    for scopes in (["admin"], ["admin"]):
        child = make_key(maker, scopes=scopes)
        assert child["expiresAt"] == made["expiresAt"]
        maker = with_key(service, child["apiKey"])
    later = (end + timedelta(seconds=1)).isoformat()
    body = {"name": "x", "scopes": ["admin"], "expiresAt": later}
    said = problem(maker.post("/keys", json=body), 403)
    assert "this key expires at" in said["detail"]
    assert said["errors"][0]["pointer"] == "/expiresAt"
    sooner = (end - timedelta(seconds=1)).isoformat()
    assert make_key(maker, scopes=["admin"], expiresAt=sooner)["expiresAt"] < made["expiresAt"]


def test_a_successor_expires_when_the_key_that_it_replaces_would_have(service, client):
    end = datetime.now(UTC) + timedelta(hours=1)
    made = make_key(client, scopes=["admin"], expiresAt=end.isoformat())
    holder = with_key(service, made["apiKey"])
    for by in (holder, client):
        # Replacing it once more, after it was replaced, prolongs nothing either.
        rotated = by.post(f"/keys/{made['id']}/rotate", json={"overlapSeconds": 600}).json()
        assert rotated["expiresAt"] <= made["expiresAt"]
        assert rotated["oldKeyExpiresAt"] < made["expiresAt"]
    listed = {key["id"]: key for key in client.get("/keys").json()}
    assert listed[rotated["id"]]["expiresAt"] == rotated["expiresAt"]
    forever = client.post(f"/keys/{make_key(client)['id']}/rotate").json()
    assert forever["expiresAt"] is None


def test_the_holder_of_a_key_that_was_replaced_gets_none_that_outlives_the_overlap(service, client):
    leaked = make_key(client, scopes=["admin"])
    thief = with_key(service, leaked["apiKey"])
    ended = client.post(f"/keys/{leaked['id']}/rotate", json={"overlapSeconds": 600}).json()
    ends = ended["oldKeyExpiresAt"]
    assert thief.post(f"/keys/{leaked['id']}/rotate").json()["expiresAt"] == ends
    assert make_key(thief, scopes=["admin"])["expiresAt"] == ends


def test_a_weaker_key_rotates_no_stronger_one(service, client):
    strong = make_key(client, scopes=["ingest", "read", "admin"])
    limited = installed_key(service, client, rateLimitsPerMinute={"analytics": 5})
    free = installed_key(service, client)
    more = installed_key(service, client, rateLimitsPerMinute={"analytics": 6})
    same = installed_key(service, client, rateLimitsPerMinute={"analytics": 5})
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    expiring = with_key(
        service, make_key(client, scopes=["admin", "read"], expiresAt=soon)["apiKey"]
    )
    only_admin = with_key(service, make_key(client, scopes=["admin"])["apiKey"])
    for who, key_id, words in (
        (only_admin, strong["id"], "lacks the scope ingest"),
        (limited, free.key_id, "limited to 5 analytics"),
        (limited, more.key_id, "limited to 5 analytics"),
        (expiring, free.key_id, "expires at"),
    ):
        said = problem(who.post(f"/keys/{key_id}/rotate", json={"overlapSeconds": 0}), 403)
        assert words in said["detail"]
    # Nothing happened to those keys.
    listed = {key["id"]: key["expiresAt"] for key in client.get("/keys").json()}
    assert [listed[one] for one in (strong["id"], free.key_id, more.key_id)] == [None] * 3
    assert limited.post(f"/keys/{same.key_id}/rotate").status_code == 201
    assert client.post(f"/keys/{more.key_id}/rotate").status_code == 201


def test_a_revoked_key_that_is_still_remembered_makes_none_that_outlives_it(service, client, db):
    made = make_key(client, scopes=["admin"])
    thief = with_key(service, made["apiKey"])
    assert thief.get("/keys").status_code == 200
    client.delete(f"/keys/{made['id']}")
    # The process still knows it, or has learnt better; no key is made either way.
    for ask in ("/keys", f"/keys/{made['id']}/rotate"):
        body = {"name": "x", "scopes": ["admin"]} if ask == "/keys" else {}
        assert thief.post(ask, json=body).status_code in (401, 403, 404)
    with pytest.raises(psycopg.Error, match="revoked") as refusal:
        db.execute(
            "select api.key_create(%s, p_by => %s)", (client.tenant_id, made["id"])
        ).fetchone()
    assert refusal.value.sqlstate == "TY403"
    alive = [key["id"] for key in client.get("/keys").json() if key["revokedAt"] is None]
    assert len(alive) == 1


def test_an_installation_key_sets_any_limit_and_any_life_and_psql_too(service, client, db):
    limited = installed_key(service, client, rateLimitsPerMinute={"analytics": 1})
    more = installed_key(service, client, rateLimitsPerMinute={"analytics": 1000})
    params = {"tenantId": client.tenant_id}
    rotated = service.admin.post(f"/keys/{limited.key_id}/rotate", params=params)
    assert rotated.json()["rateLimitsPerMinute"] == {"analytics": 1}
    assert granted(more, tries=10) == 10
    (limits,) = db.execute(
        """
        select rate_limits_per_minute
        from api.key_create(%s, p_rate_limits_per_minute => '{"bulk": 7}')
        """,
        (client.tenant_id,),
    ).fetchone()
    assert limits == {"bulk": 7}


def test_nobody_acts_in_the_name_of_another_tenants_key(service, client, shared_dsn, db):
    other = service.tenant()
    theirs = make_key(other, scopes=["admin"])["id"]
    mine = make_key(client)["id"]
    before = db.execute("select count(*) from tally.audit_log").fetchone()
    stolen = make_conninfo(shared_dsn, user="tally_service", password=SERVICE_PASSWORD)
    with psycopg.connect(stolen, autocommit=True) as thief:
        for by in (theirs, str(uuid4())):
            for call in (
                "api.key_create(%(tenant)s, p_by => %(by)s)",
                "api.key_rotate(%(tenant)s, %(key)s, p_by => %(by)s)",
                "api.key_revoke(%(tenant)s, %(key)s, %(by)s)",
                "api.actor_erase(%(tenant)s, 'ann', p_by => %(by)s)",
                "api.tenant_update(%(tenant)s, 'another name', p_by => %(by)s)",
                "api.tenant_create('made by nobody', p_by => %(by)s)",
            ):
                values = {"tenant": client.tenant_id, "key": mine, "by": by}
                with pytest.raises(psycopg.Error) as refusal:
                    thief.execute(f"select * from {call}".encode(), values)
                assert refusal.value.sqlstate == "TY403", call
    assert db.execute("select count(*) from tally.audit_log").fetchone() == before
    assert with_key(service, client.headers["X-API-Key"]).get("/keys").status_code == 200
