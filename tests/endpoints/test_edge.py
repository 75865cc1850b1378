"""The outer layer: limits of size, time and number, headers, CORS, and what logs may hold."""

import contextlib
import gzip
import json
import os
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest

from tests.conftest import (
    SERVICE_PASSWORD,
    Service,
    installation_key,
    make_conninfo,
    running_service,
    wait_for,
)
from tests.endpoints.test_service import COUNT, problem

GUESS = {"X-API-Key": "nonsense"}


@pytest.fixture
def client(service):
    return service.tenant()


@pytest.fixture
def shared_service_dsn(shared_dsn):
    return make_conninfo(shared_dsn, user="tally_service", password=SERVICE_PASSWORD)


def raw(url, *pieces, pause=0.0, seconds=10.0):
    """Sends bytes as they are, slowly if asked; returns what comes back."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=seconds) as connection:
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(pause)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
            if b"\r\n\r\n" in received:
                break
        return received


def test_every_response_has_an_id_and_the_headers_that_browsers_heed(service, client):
    for response in (
        client.get(COUNT), httpx.get(service.url + COUNT), client.get("/nowhere"),
        client.put("/events"), client.post("/events", content="{"), client.get("/health/live"),
        client.get("/schema"), client.get(COUNT + "?x=" + "y" * 9000),
    ):  # fmt: skip
        assert len(response.headers["x-request-id"]) == 16, response.url
        assert response.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in response.headers["content-security-policy"]
        assert response.headers["cache-control"] == "no-store"
        if response.status_code >= 400:
            problem(response, response.status_code)


def test_a_long_query_is_refused(client):
    problem(client.get(COUNT + "?actorId=" + "x" * 9000), 414)


def test_many_or_large_headers_are_refused_and_the_service_lives(service):
    request = b"GET /health/live HTTP/1.1\r\nHost: x\r\n"
    many = b"".join(b"X-%d: y\r\n" % n for n in range(500))
    assert b" 431 " in raw(service.url, request + many + b"\r\n").splitlines()[0]
    large = b"X-A: " + b"y" * 1_000_000 + b"\r\n\r\n"
    # The connection may be closed while we are still sending.
    with contextlib.suppress(ConnectionError):
        assert b" 431 " in raw(service.url, request + large).splitlines()[0]
    assert httpx.get(service.url + "/health/live").status_code == 200


def test_deep_json_is_refused_wherever_it_stands(client):
    deep = "[" * 100_000 + "]" * 100_000
    for body in (deep, '{"type": "a", "data": ' + deep + "}", '{"data":' * 20_000):
        problem(client.post("/events", content=body), 400)
        problem(client.post("/events/bulk", content=f"[{body}]"), 400)
        problem(client.post("/keys", content=body), 400)


def test_a_slow_client_is_cut_off_and_holds_up_nobody(shared_service_dsn, shared_dsn):
    with running_service(shared_service_dsn, PGTALLY_REQUEST_TIMEOUT_MS="1000") as (url, _):
        client = Service(url, installation_key(shared_dsn)).tenant()
        head = (
            f"POST /events HTTP/1.1\r\nHost: x\r\nX-API-Key: {client.headers['X-API-Key']}\r\n"
            "Content-Length: 1000\r\n\r\n{"
        ).encode()
        started = time.monotonic()
        slow = [threading.Thread(target=raw, args=(url, head)) for _ in range(50)]
        for thread in slow:
            thread.start()
        assert client.post("/events", json={"type": "a"}).status_code == 201
        assert b" 408 " in raw(url, head).splitlines()[0]
        for thread in slow:
            thread.join()
        assert time.monotonic() - started < 8


def test_a_client_that_hangs_up_is_no_error_of_the_service(
    shared_service_dsn, shared_dsn, tmp_path
):
    log = tmp_path / "log"
    with (
        log.open("wb") as output,
        running_service(shared_service_dsn, output) as (url, _),
    ):
        admin = Service(url, installation_key(shared_dsn)).admin
        key = admin.post("/tenants", json={"name": f"hang up {time.time()}"}).json()["apiKey"]
        parts = urlsplit(url)
        paths = ("/events", "/events/bulk", "/v1/batch")
        for path in paths:
            head = (
                f"POST {path} HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\n"
                "Content-Length: 1000\r\n\r\n{"
            ).encode()
            with socket.create_connection((parts.hostname, parts.port)) as connection:
                connection.sendall(head)
                time.sleep(0.3)

        def counted():
            lines = admin.get("/metrics").text.splitlines()
            found = [line for line in lines if line.startswith("pgtally_http_requests_total{")]
            assert not any('status="5' in line for line in found)
            return [path for path in paths for line in found if f'"{path}",status="499"' in line]

        wait_for(lambda: len(counted()) == len(paths))
    assert "unexpected error" not in log.read_text()
    assert log.read_text().count('"status":499') == len(paths)


def test_a_request_that_takes_too_long_is_cancelled_in_the_database_too(
    shared_service_dsn, shared_dsn
):
    with (
        running_service(shared_service_dsn, PGTALLY_REQUEST_TIMEOUT_MS="500") as (url, _),
        psycopg.connect(shared_dsn, autocommit=True) as db,
    ):
        client = Service(url, installation_key(shared_dsn)).tenant()
        running = """
          select count(*) from pg_stat_activity
          where usename = 'tally_service' and state = 'active' and query ~ 'event_count'
            and datname = current_database()
        """
        with psycopg.connect(shared_dsn) as blocker:
            blocker.execute("lock table tally.summaries")
            problem(client.get(COUNT), 504)
            wait_for(lambda: db.execute(running).fetchone() == (0,))
        assert client.get(COUNT).json() == {"total": 0}


def test_an_address_that_guesses_keys_is_slowed_and_a_valid_key_from_it_is_not(
    shared_service_dsn, shared_dsn
):
    with running_service(shared_service_dsn, PGTALLY_UNAUTHENTICATED_PER_MINUTE="5") as (url, _):
        client = Service(url, installation_key(shared_dsn)).tenant()
        assert client.get(COUNT).status_code == 200
        codes = [httpx.get(url + COUNT, headers=GUESS).status_code for _ in range(7)]
        assert codes == [401] * 5 + [429] * 2
        refused = httpx.get(url + COUNT, headers=GUESS)
        assert int(refused.headers["retry-after"]) <= 12
        # Not by naming another address either: no proxy is trusted.
        forged = {**GUESS, "X-Forwarded-For": "203.0.113.9"}
        assert httpx.get(url + COUNT, headers=forged).status_code == 429
        time.sleep(1.1)
        assert client.get(COUNT).status_code == 200


def test_behind_a_trusted_proxy_the_address_that_it_names_counts(shared_service_dsn):
    variables = {
        "PGTALLY_UNAUTHENTICATED_PER_MINUTE": "2", "PGTALLY_TRUSTED_PROXIES": "127.0.0.0/8, ::1",
    }  # fmt: skip
    with running_service(shared_service_dsn, **variables) as (url, _):

        def ask(forwarded):
            headers = {**GUESS, "X-Forwarded-For": forwarded}
            return httpx.get(url + COUNT, headers=headers).status_code

        assert [ask("198.51.100.1, 203.0.113.1") for _ in range(3)] == [401, 401, 429]
        # What the client itself wrote stands left of what the proxy added.
        assert ask("198.51.100.2, 203.0.113.1") == 429
        assert ask("203.0.113.2") == 401
        # An IPv6 customer has a whole network of 64 bits.
        codes = [ask(f"2001:db8:0:1::{n}") for n in range(1, 4)]
        assert codes == [401, 401, 429]
        assert ask("2001:db8:0:2::1") == 401


def test_a_wrong_setting_ends_the_start_and_is_named(shared_service_dsn):
    environment = {
        **os.environ, "PGTALLY_DSN": shared_service_dsn, "PGTALLY_TRUSTED_PROXIES": "10.0.0.0/33",
        "PGTALLY_CORS_ORIGINS": "example.com", "PGTALLY_POOL_SIZE": "0",
    }  # fmt: skip
    done = subprocess.run(
        [".venv/bin/pgtally", "serve"], env=environment, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 1
    for name in ("PGTALLY_TRUSTED_PROXIES", "PGTALLY_CORS_ORIGINS", "PGTALLY_POOL_SIZE"):
        assert name in done.stderr


def test_browsers_are_kept_out_unless_their_origin_is_allowed(service, client, shared_service_dsn):
    asked = {
        "Origin": "https://app.example.com", "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,content-encoding",
    }  # fmt: skip
    closed = httpx.options(service.url + "/events", headers=asked)
    assert "access-control-allow-origin" not in closed.headers
    assert "access-control-allow-origin" not in client.get(COUNT, headers=asked).headers
    variables = {"PGTALLY_CORS_ORIGINS": "https://app.example.com"}
    with running_service(shared_service_dsn, **variables) as (url, _):
        allowed = httpx.options(url + "/events", headers=asked)
        assert allowed.status_code in (200, 204)
        assert allowed.headers["access-control-allow-origin"] == asked["Origin"]
        for name in ("authorization", "content-type", "content-encoding"):
            assert name in allowed.headers["access-control-allow-headers"].lower()
        for path in (COUNT, "/nowhere"):
            refused = httpx.get(url + path, headers=asked)
            assert refused.headers["access-control-allow-origin"] == asked["Origin"], path
        other = httpx.get(url + COUNT, headers={"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in other.headers


def test_the_rate_limit_holds_over_processes_clients_and_a_restart(shared_service_dsn, shared_dsn):
    limit = 120
    variables = {"PGTALLY_ANALYTICS_PER_MINUTE": str(limit)}
    accepted = refused = 0
    with running_service(shared_service_dsn, **variables) as (first, _):
        client = Service(first, installation_key(shared_dsn)).tenant()
        headers = {"X-API-Key": client.headers["X-API-Key"]}

        def ask(url):
            answers = [httpx.get(url + COUNT, headers=headers) for _ in range(40)]
            for answer in answers:
                assert answer.headers["ratelimit-policy"] == f'"analytics";q={limit};w=60'
                if answer.status_code == 429:
                    assert int(answer.headers["retry-after"]) >= 1
            return [answer.status_code for answer in answers]

        started = time.monotonic()
        with (
            running_service(shared_service_dsn, **variables) as (second, _),
            ThreadPoolExecutor(8) as pool,
        ):
            for codes in pool.map(ask, [first, second] * 4):
                accepted += codes.count(200)
                refused += codes.count(429)
    assert refused > 0
    assert accepted <= limit + (time.monotonic() - started) * limit / 60
    # Tokens of a lot may be lost when a process ends or its two seconds do, but not most of them.
    assert accepted >= limit / 2
    # A process that starts anew finds the bucket as it was left. The clock is ours: the bucket is
    # told that it was emptied ten seconds ago, in which a sixth of the limit comes back.
    with running_service(shared_service_dsn, **variables) as (third, _):
        with psycopg.connect(shared_dsn, autocommit=True) as db:
            db.execute(
                """
                update tally.rate_buckets
                set tokens = 0, updated_at = clock_timestamp() - interval '10 seconds'
                where bucket ~ %s
                """,
                (str(client.tenant_id),),
            )
        began = time.monotonic()
        accepted = ask(third).count(200)
        elapsed = time.monotonic() - began
    assert 10 <= accepted <= (10 + elapsed) * limit / 60


def test_a_crash_of_the_server_fills_no_bucket(db):
    persistence = "select relpersistence from pg_class where oid = 'tally.rate_buckets'::regclass"
    assert db.execute(persistence).fetchone() == ("p",)


def test_no_secret_is_in_a_log_a_process_list_or_an_error(dsn, db, service_dsn, tmp_path):
    log = Path(db.execute("show data_directory").fetchone()[0]).parent / "postgres.log"
    name = db.execute("select current_database()").fetchone()[0]
    for setting in ("log_statement = 'all'", "log_duration = on", "log_parameter_max_length = -1"):
        db.execute(f'alter database "{name}" set {setting}'.encode())
    mark = log.stat().st_size
    output = (tmp_path / "service.log").open("w+")
    with running_service(service_dsn, output=output) as (url, process):
        service = Service(url, installation_key(dsn))
        client = service.tenant()
        made = client.post("/keys", json={"name": "k", "scopes": ["read"]}).json()
        rotated = client.post(f"/keys/{made['id']}/rotate").json()
        secrets = [
            service.installation_key, client.headers["X-API-Key"], made["apiKey"], rotated["apiKey"],
        ]  # fmt: skip
        answers = [
            client.get(COUNT, headers={"Authorization": f"Bearer {made['apiKey']}"}),
            client.get(COUNT + "?x=1"),
            client.post("/events", content=gzip.compress(b"x")),
            httpx.get(url + COUNT, headers={"X-API-Key": made["apiKey"] + "x"}),
        ]
        processes = b"".join(
            path.read_bytes() for path in Path("/proc").glob(f"{process.pid}/cmdline")
        )
    environment = {**os.environ, "PGTALLY_ADMIN_DSN": dsn}
    login = json.loads(
        subprocess.run(
            [".venv/bin/pgtally", "bi-role", "create", str(client.tenant_id), "log_test", "--json"],
            env=environment, capture_output=True, text=True, check=True,
        ).stdout
    )  # fmt: skip
    try:
        secrets.append(login["password"])
        secrets.append(SERVICE_PASSWORD)
        output.seek(0)
        written = output.read()
        with log.open("rb") as file:
            file.seek(mark)
            logged = file.read()
        assert b"key_find" in logged
        assert b"bi_role_create" in logged
        for secret in secrets:
            hidden = secret[17:] if secret.startswith("pgt_") else secret
            assert hidden not in written
            assert hidden.encode() not in logged
            assert hidden.encode() not in processes
            assert not any(hidden in answer.text for answer in answers)
    finally:
        db.execute("call tally.bi_role_drop(%s)", (login["role_name"],))


def test_the_id_of_a_request_is_in_its_log_line_and_in_pg_stat_activity(
    shared_service_dsn, shared_dsn, tmp_path
):
    output = (tmp_path / "service.log").open("w+")
    with (
        running_service(shared_service_dsn, output=output) as (url, _),
        psycopg.connect(shared_dsn, autocommit=True) as db,
    ):
        client = Service(url, installation_key(shared_dsn)).tenant()
        running = """
          select substring(application_name from '^pgtally request ([0-9a-f]{16})$') from pg_stat_activity
          where usename = 'tally_service' and state = 'active' and query ~ 'event_count'
            and datname = current_database()
        """
        with psycopg.connect(shared_dsn) as blocker, ThreadPoolExecutor(1) as pool:
            blocker.execute("lock table tally.summaries")
            asked = pool.submit(client.get, COUNT, params={"actorId": "", "from": "2024-01-01"})
            wait_for(lambda: db.execute(running).fetchall())
            (seen,) = db.execute(running).fetchone()
            blocker.rollback()
            response = asked.result()
        assert response.headers["x-request-id"] == seen

        def told():
            lines = Path(output.name).read_text().splitlines()
            found = [json.loads(line) for line in lines if line[0] == "{"]
            return [one for one in found if one.get("request_id") == seen]

        # The line is written after the answer.
        wait_for(told)
        (line,) = told()
        assert (line["route"], line["status"], line["method"]) == (COUNT, 200, "GET")
        assert line["tenant_id"] == str(client.tenant_id)
        assert "2024" not in json.dumps({**line, "timestamp": ""})


def test_several_processes_answer_metrics_of_all_of_them(shared_service_dsn, shared_dsn):
    limits = {"PGTALLY_TENANTS_PER_MINUTE": "10000", "PGTALLY_WORKERS": "2"}
    with running_service(shared_service_dsn, **limits) as (url, _):
        for _ in range(40):
            httpx.get(url + "/nowhere")
        key = {"X-API-Key": installation_key(shared_dsn)}
        for _ in range(6):
            text = httpx.get(url + "/metrics", headers=key).text
            (line,) = [
                one
                for one in text.splitlines()
                if one.startswith("pgtally_http_requests_total{")
                and 'route="none"' in one
                and 'status="404"' in one
            ]
            assert float(line.rsplit(" ", 1)[1]) == 40


def test_a_service_that_is_told_to_stop_finishes_what_it_has_accepted(
    shared_service_dsn, shared_dsn
):
    limits = {"PGTALLY_INGEST_PER_MINUTE": "1000000"}
    answers = []
    with (
        running_service(shared_service_dsn, **limits) as (url, process),
        psycopg.connect(shared_dsn, autocommit=True) as db,
    ):
        client = Service(url, installation_key(shared_dsn)).tenant()

        def send(n):
            with httpx.Client(base_url=url, headers=client.headers, timeout=30) as mine:
                while True:
                    try:
                        answers.append(mine.post("/events", json={"type": "a"}).status_code)
                    except httpx.ConnectError:
                        return
                    except httpx.TransportError:
                        answers.append("broken")
                        return

        with ThreadPoolExecutor(8) as pool:
            futures = [pool.submit(send, n) for n in range(8)]
            wait_for(lambda: len(answers) > 200)
            with psycopg.connect(shared_dsn) as blocker:
                # Requests are under way when the signal comes, and stay so for a while.
                blocker.execute("lock table tally.summary_deltas")
                time.sleep(0.3)
                process.terminate()
                time.sleep(0.5)
            for future in futures:
                future.result()
        assert process.wait(15) == 0
        stored = "select count(*) from tally.events where tenant_id = %s"
        (count,) = db.execute(stored, (client.tenant_id,)).fetchone()
    accepted = answers.count(201)
    assert set(answers) <= {201, 503, "broken"}
    # A connection that was idle when the server closed it may break; nothing that was accepted is lost.
    assert count >= accepted
    assert count - accepted <= answers.count("broken")


@pytest.mark.parametrize("name", ["%00", "x" * 4000, "page.css%2Fx", "..%2F__init__.py", ""])
def test_a_path_under_the_reference_page_that_no_file_has_is_not_found(service, name):
    problem(httpx.get(f"{service.url}/assets/{name}"), 404)
