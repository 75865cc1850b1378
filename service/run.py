"""`pgtally run`: everything on one machine, in the foreground, with a cluster of its own."""

import contextlib
import fcntl
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from service import demo, load
from service.cluster import Cluster, ClusterError
from service.migrate import migrate

START_SECONDS = 60


def say(text: str) -> None:
    print(text, flush=True)


@contextlib.contextmanager
def _only_one(home: Path) -> Iterator[None]:
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ClusterError(f"pgtally already runs on {home}; stop it first") from None
        yield


def _read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text())) if path.exists() else {}


def _write(path: Path, content: dict[str, Any]) -> None:
    """Replaces the file in one step, readable by its owner only."""
    temporary = path.with_suffix(".new")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(content, file, indent=2)
        file.write("\n")
    temporary.replace(path)


def _service_password(connection: psycopg.Connection[Any]) -> str:
    password = secrets.token_urlsafe(24)
    # Hashed here, so that the password itself never stands in a statement or a log.
    hashed = connection.pgconn.encrypt_password(password.encode(), b"tally_service", b"scram-sha-256")
    connection.execute(
        sql.SQL("alter role tally_service password {}").format(hashed.decode())
    )
    return password


def _new_key(connection: psycopg.Connection[Any], tenant: str | None, scopes: list[str]) -> str:
    row = connection.execute(
        "select api_key from api.key_create(%s::uuid, %s::text, %s::text[])", (tenant, "make run", scopes)
    ).fetchone()
    return str(row[0]) if row else ""


def _load_demo(connection: psycopg.Connection[Any]) -> list[dict[str, str]]:
    """Makes a tenant for each airline and loads its flights; returns the tenants."""
    tenants = []
    by_carrier = demo.flights()
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TextColumn("flights"), TimeRemainingColumn(),
    )  # fmt: skip
    started = time.monotonic()
    accepted = duplicates = 0
    console = Console(force_terminal=sys.stdout.isatty())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("loading 2013's flights from New York", total=demo.FLIGHTS)
        first = True
        for carrier, rows in by_carrier.items():
            found = connection.execute(
                "select tenant_id from tally.tenants where name = %s", (carrier,)
            ).fetchone() or connection.execute(
                "select tenant_id from api.tenant_create(%s, %s)", (carrier, demo.ZONE)
            ).fetchone()
            tenant = found[0] if found else None
            events = list(demo.events(rows))
            if first:
                times = [event[0] for event in events]
                load.ensure_partitions(connection, min(times), max(times))
                first = False
            new, old = load.load(connection, tenant, events, lambda count: None)
            accepted += new
            duplicates += old
            progress.advance(task, len(rows))
            if not console.is_terminal:
                say(f"  {carrier}: {len(rows):,} flights, {new:,} events")
            tenants.append({"name": carrier, "id": str(tenant)})
    seconds = time.monotonic() - started
    say(f"loaded {accepted:,} events in {seconds:.0f} s ({duplicates:,} were there already)")
    for text in ("call tally.fold()", *(f"call tally.finalize('{t}')" for t in ("day", "week", "month"))):
        started = time.monotonic()
        row = connection.execute(text.encode()).fetchone()
        say(f"{text}: {row[0]:,} in {time.monotonic() - started:.1f} s" if row else text)
    connection.execute("vacuum (analyze) tally.events, tally.summaries, tally.summary_deltas")
    return tenants


def _prepare(cluster: Cluster, home: Path) -> dict[str, Any]:
    """Migrates, and on the first run makes keys and loads the demo data; returns what to publish."""
    kept = _read(home / "dev.json")
    migrate(cluster.dsn(), say)
    with psycopg.connect(cluster.dsn(), autocommit=True) as connection:
        kept["serviceDsn"] = cluster.dsn(user="tally_service", password=_service_password(connection))
        kept["dsn"] = cluster.dsn()
        if "adminKey" not in kept:
            kept["adminKey"] = _new_key(connection, None, ["admin"])
            _write(home / "dev.json", kept)
        if "tenants" not in kept:
            tenants = _load_demo(connection)
            for tenant in tenants:
                tenant["apiKey"] = _new_key(connection, tenant["id"], ["ingest", "read"])
            kept["tenants"] = tenants
            _write(home / "dev.json", kept)
    return kept


def _wait_until_ready(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise ClusterError(f"the service ended with code {server.returncode}")
        with contextlib.suppress(urllib.error.URLError, OSError):
            with urllib.request.urlopen(f"{url}/health/ready", timeout=2):  # noqa: S310
                return
        time.sleep(0.1)
    raise ClusterError(f"the service was not ready within {START_SECONDS} s")


def run(home: Path, port: int) -> int:
    """Starts cluster and service and waits; stops both at Ctrl-C or SIGTERM. Returns an exit code."""
    server: subprocess.Popen[bytes] | None = None

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGHUP, stop)
    with _only_one(home):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                raise ClusterError(f"port {port} is taken; set PGTALLY_PORT to another") from None
        cluster = Cluster(home)
        try:
            if cluster.create():
                say(f"made a PostgreSQL cluster in {cluster.folder}")
                (home / "dev.json").unlink(missing_ok=True)
            cluster.start()
            say(f"PostgreSQL runs as {cluster.account.name}")
            published = _prepare(cluster, home)
            environment = {
                **os.environ,
                "PGTALLY_DSN": published.pop("serviceDsn"),
                "PGTALLY_PORT": str(port),
            }
            server = subprocess.Popen(  # noqa: S603
                [sys.executable, "-m", "service.cli", "serve"],
                cwd=Path(__file__).resolve().parent.parent,
                env=environment,
                start_new_session=True,
            )
            url = f"http://127.0.0.1:{port}"
            _wait_until_ready(url, server)
            _write(home / "dev.json", {"url": url, **published})
            say(f"keys, tenants and the psql connection are in {home / 'dev.json'}")
            say(f"ready: {url}")
            code = server.wait()
            say(f"the service ended with code {code}")
            return code
        except KeyboardInterrupt:
            say("stopping")
            return 0
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            if server is not None and server.poll() is None:
                server.terminate()
                try:
                    server.wait(20)
                except subprocess.TimeoutExpired:
                    server.kill()
            cluster.stop()
