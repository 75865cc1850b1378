"""A long run under load with faults: the server is killed, backends are terminated, jobs run all the
time, meters are made, changed and deleted. Nothing acknowledged is lost, nothing is doubled, and every
answer is exact at the end.

    PGTALLY_SOAK_SECONDS=600 make soak
"""

import contextlib
import os
import random
import signal
import socket
import subprocess
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import httpx
import psycopg
import pytest

from tests.conftest import SERVICE_PASSWORD, Service, installation_key, running_service, wait_for
from tests.functions.test_meters import percentile
from tests.races.test_races import BALANCE, GRAINS

pytestmark = pytest.mark.soak
SECONDS = float(os.environ.get("PGTALLY_SOAK_SECONDS", "600"))


def _in_use(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


METERS = ["one by data.k", "two by data.k type", "three by type"]


def compare_breakdowns(
    connection: psycopg.Connection[Any], tenant: UUID, events: list[dict[str, Any]]
) -> int:
    """Every group, missing and total of what the meters count, as from the events; how many."""
    compared = 0
    for name in METERS:
        by = name.split(" by ")[1].split()
        groups = defaultdict(list)
        for event in events:
            found = {"type": event["type"], "data.k": event["data"]["k"]}
            groups[tuple(found[one] for one in by)].append(event)
            groups["total"].append(event)
        for measure in ("count", "sum", "p90"):
            rows = connection.execute(
                """
                select part, group_values, total, source, is_exact
                from api.event_breakdown(%s, %s, p_measure => %s, p_of => 'data.n', p_limit => 1000)
                """,
                (tenant, by, measure),
            ).fetchall()
            told = {}
            for part, values, total, _, is_exact in rows:
                assert is_exact
                if part in ("group", "total"):
                    told[tuple(values) if values else part] = total
            for key, found in groups.items():
                numbers = [Decimal(e["data"]["n"]) for e in found if "n" in e["data"]]
                wanted = {
                    "count": len(found),
                    "sum": sum(numbers),
                    "p90": percentile("p90", numbers, rows[-1][3].startswith("meter")),
                }[measure]
                assert told.pop(key) == wanted, (name, measure, key)
                compared += 1
            assert told == {}
    return compared


def test_nothing_acknowledged_is_lost_or_doubled_under_load_and_faults(durable_cluster):
    cluster = durable_cluster
    until = time.monotonic() + SECONDS
    figures: Counter[str] = Counter()
    start = datetime.now(UTC) - timedelta(days=40)
    acknowledged: list[dict[tuple[UUID, datetime], dict[str, Any]]] = [{}, {}, {}, {}]

    def write(client: httpx.Client, number: int) -> None:
        chance = random.Random(number)
        mine = acknowledged[number]
        pending: list[dict[str, Any]] | None = None
        while time.monotonic() < until or pending:
            assert time.monotonic() < until + 60, "the service did not recover"
            if pending is None:
                pending = [
                    {
                        "type": chance.choice("abcdef"),
                        "id": str(UUID(int=chance.getrandbits(120))),
                        "occurredAt": (
                            start + timedelta(seconds=chance.randrange(3_400_000))
                        ).isoformat(),
                        "actorId": f"actor {chance.randrange(5000)}",
                        "value": chance.randrange(1000),
                        "data": {"k": f"k {min(chance.randrange(12), chance.randrange(12))}"}
                        | ({"n": chance.randrange(1000)} if chance.random() < 0.9 else {}),
                    }
                    for _ in range(chance.choice([1, 20, 200]))
                ]
                figures["batches"] += 1
            try:
                response = client.post("/events/bulk", json=pending)
            except httpx.TransportError:
                figures["broken requests"] += 1
                time.sleep(0.2)
                continue
            if response.status_code == 201:
                body = response.json()
                assert body["accepted"] + body["duplicates"] == len(pending)
                figures["accepted"] += body["accepted"]
                figures["duplicates after a fault"] += body["duplicates"]
                mine.update(
                    {(UUID(e["id"]), datetime.fromisoformat(e["occurredAt"])): e for e in pending}
                )
                pending = None
            else:
                assert response.status_code == 503, response.text
                figures["503"] += 1
                time.sleep(0.2)

    def meters(client: httpx.Client, number: int) -> None:
        chance = random.Random(number)
        while time.monotonic() < until:
            definition: dict[str, Any] = {
                "maxGroups": chance.choice([2, 5, 100]), "percentiles": chance.random() < 0.5,
            }  # fmt: skip
            name = chance.choice(METERS)
            asked = chance.choice(["create", "create", "change", "delete"])
            with contextlib.suppress(httpx.TransportError):
                if asked == "create":
                    by = name.split(" by ")[1].split()
                    new = {"name": name, "by": by, "of": "data.n", **definition}
                    response = client.post("/meters", json=new)
                elif asked == "change":
                    response = client.patch(f"/meters/{name}", json=definition)
                else:
                    response = client.delete(f"/meters/{name}")
                assert response.status_code in (200, 201, 404, 409, 503), response.text
                figures[f"meters: {asked}"] += response.status_code < 300
            time.sleep(chance.uniform(0, 3))

    def jobs() -> None:
        chance = random.Random(99)
        while time.monotonic() < until:
            try:
                with psycopg.connect(cluster.dsn(), autocommit=True) as connection:
                    while time.monotonic() < until:
                        text = chance.choice(
                            ["call tally.fold()"] * 3
                            + ["call tally.fill()"] * 2
                            + [
                                "call tally.finalize('day')",
                                "call tally.finalize('week')",
                                "call tally.maintain()",
                            ]
                            + [
                                f"call tally.rebuild('{tenant}', now() - interval '3 days')"
                                for tenant in tenants
                            ]
                        )
                        connection.execute(text.encode())
                        figures["jobs"] += 1
            except psycopg.OperationalError:
                figures["jobs cut off"] += 1
                time.sleep(0.5)

    def check() -> None:
        while time.monotonic() < until:
            try:
                with psycopg.connect(cluster.dsn(), autocommit=True) as connection:
                    while time.monotonic() < until:
                        for tenant in tenants:
                            raw, grains = connection.execute(BALANCE, {"t": tenant}).fetchone()
                            assert grains == [raw] * GRAINS, (raw, grains)
                            figures["balance checks"] += 1
                        time.sleep(1)
            except psycopg.OperationalError:
                time.sleep(0.5)

    port = int(psycopg.conninfo.conninfo_to_dict(cluster.dsn())["port"])

    def faults() -> None:
        chance = random.Random(7)
        while time.monotonic() < until - 20:
            time.sleep(chance.uniform(5, 15))
            if chance.random() < 0.3:
                pid = int((cluster.data / "postmaster.pid").read_text().split()[0])
                children = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True)
                for process in (pid, *map(int, children.stdout.split())):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(process, signal.SIGKILL)
                figures["server killed"] += 1
                # The port has to stay the same, as it does on a real server.
                wait_for(lambda: not _in_use(port), 30)
                cluster.start()
            else:
                with (
                    contextlib.suppress(psycopg.OperationalError),
                    psycopg.connect(cluster.dsn(), autocommit=True) as connection,
                ):
                    figures["backends terminated"] += connection.execute(
                        """
                            select count(pg_terminate_backend(pid)) from pg_stat_activity
                            where pid <> pg_backend_pid() and backend_type = 'client backend' and random() < 0.4
                            """
                    ).fetchone()[0]

    dsn = cluster.dsn(user="tally_service", password=SERVICE_PASSWORD)
    limits = {f"PGTALLY_{name}_PER_MINUTE": "1000000" for name in ("INGEST", "BULK", "TENANTS")}
    with running_service(dsn, **limits) as (url, _):
        service = Service(url, installation_key(cluster.dsn()))
        clients = [service.tenant(timeZone=zone) for zone in ("America/New_York", "Asia/Kathmandu")]
        tenants = [client.tenant_id for client in clients]
        with ThreadPoolExecutor(9) as pool:
            work = [pool.submit(write, clients[n % 2], n) for n in range(4)]
            work += [pool.submit(meters, clients[n], n) for n in range(2)]
            work += [pool.submit(task) for task in (jobs, check, faults)]
            for future in work:
                future.result()
        with psycopg.connect(cluster.dsn(), autocommit=True) as connection:
            for text in ("call tally.fold()", "call tally.finalize('day')"):
                connection.execute(text.encode())
            stored = connection.execute("select event_id, occurred_at from tally.events").fetchall()
            sent = set().union(*acknowledged)
            assert len(stored) == len(set(stored)) == len(sent)
            assert set(stored) == sent
            for tenant in tenants:
                assert (
                    connection.execute("select * from tally.verify(%s)", (tenant,)).fetchall() == []
                )
            (healed,) = connection.execute(
                "select sum(healed_count) from tally.job_runs where job like 'finalize%'"
            ).fetchone()
            assert healed == 0
            for client in clients:
                for name in METERS:
                    new = {"name": name, "by": name.split(" by ")[1].split(), "of": "data.n"}
                    assert client.post("/meters", json=new).status_code in (201, 409)
            for half in range(2):
                # Meters that are there, most of them filled; then all of them.
                for number, tenant in enumerate(tenants):
                    events = [*acknowledged[number].values(), *acknowledged[number + 2].values()]
                    figures["breakdowns"] += compare_breakdowns(connection, tenant, events)
                if half == 0:
                    (days, _, failures) = connection.execute("call tally.fill()").fetchone()
                    figures["meters: days filled at the end"] += days
                    assert failures == 0
            figures["job runs marked interrupted"] = connection.execute(
                "select count(*) from tally.job_runs where status = 'interrupted'"
            ).fetchone()[0]
    print(
        f"\n{SECONDS:.0f} seconds:",
        ", ".join(f"{name}: {count:,}" for name, count in sorted(figures.items())),
    )
