"""The service answers as its OpenAPI document says, whatever is asked; `make soak` asks more."""

import re
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import httpx
import psycopg

from tests.contract import INSTALLATION, check, operations


def test_every_answer_is_as_documented(service, subtests):
    for operation in operations(service):
        with subtests.test(operation=f"{operation.method} {operation.path}"):
            check(service, operation, examples=8)


def test_every_example_of_the_document_works(shared_dsn, service, subtests):
    document = httpx.get(service.url + "/schema/openapi.json").json()
    client = service.tenant()
    key = client.post("/keys", json={"name": "to rotate", "scopes": ["read"]}).json()["id"]
    share = client.post(
        "/shares",
        json={"name": "x", "view": {}, "expiresAt": (datetime.now(UTC) + timedelta(1)).isoformat()},
    ).json()["id"]
    client.post("/meters", json={"name": "a meter"})
    with psycopg.connect(shared_dsn, autocommit=True) as db:
        db.execute("call tally.fill()")
    values = {
        "name": "a meter",
        "tenant_id": str(client.tenant_id), "key_id": key, "share_id": share, "actor_id": "user-17", "idempotency_key": "k1",
        "project": "@current", "flag": "beta", "token": "phc_x",
    }  # fmt: skip
    client.post("/events", json={"type": "a"}, headers={"Idempotency-Key": "k1"})
    tried = 0
    # Backwards, so that a key is rotated before it is revoked.
    for path, found in sorted(document["paths"].items(), reverse=True):
        for method, operation in sorted(found.items(), reverse=True):
            media = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            if "requestBody" in operation and "example" not in media:
                continue  # the other routes of Segment's clients take what /v1/batch takes
            if operation["operationId"] in ("deleteTenant", "getTenantDeletion"):
                continue  # tried in test_deletion: the tenant would be gone
            tried += 1
            params = {
                parameter["name"]: parameter["example"]
                for parameter in operation.get("parameters", [])
                if "example" in parameter
            }
            with subtests.test(operation=operation["operationId"]):
                body = media.get("example")
                if path == "/tenants" and body:
                    body = {**body, "name": f"{body['name']} {uuid4()}"}  # names are unique
                if path == "/shares" and body:
                    body = {**body, "expiresAt": (datetime.now(UTC) + timedelta(1)).isoformat()}
                who = service.admin if path.startswith(INSTALLATION) else client
                answer = who.request(method, path.format(**values), params=params, json=body)
                assert answer.status_code < 300, answer.text
    assert tried > 25


def test_options_names_every_method_of_a_path(service):
    document = httpx.get(service.url + "/schema/openapi.json").json()
    for path, found in document["paths"].items():
        told = service.admin.options(re.sub(r"{\w+}", str(uuid4()), path)).headers["Allow"]
        assert set(told.split(", ")) - {"OPTIONS"} == {method.upper() for method in found}, path
    # As everything else, for those with a key only.
    assert httpx.options(service.url + "/events").status_code == 401


def test_operation_ids_are_unique_names(service):
    document = httpx.get(service.url + "/schema/openapi.json").json()
    ids = [
        operation["operationId"]
        for path in document["paths"].values()
        for operation in path.values()
    ]
    assert len(ids) == len(set(ids))
    assert all(one.isidentifier() for one in ids)
