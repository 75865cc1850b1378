"""The wheel, in an environment of its own, outside the tree: it installs, migrates, serves."""

import os
import subprocess
import sys
import sysconfig
import time
import venv
import zipfile
from pathlib import Path

import httpx
import psycopg
import pytest
from pgtally import __version__
from pgtally.dev.cluster import free_port
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.conftest import ROOT, SERVICE_PASSWORD, wait_for

pytestmark = pytest.mark.early


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The command in a fresh environment that finds the libraries of this one, but not its pgtally:
    a folder that a .pth file names is not searched for further .pth files."""
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, with_pip=False)
    paths = sysconfig.get_paths(vars={"base": str(folder), "platbase": str(folder)}, scheme="venv")
    (Path(paths["purelib"]) / "libraries.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index",
         "--prefix", str(folder), "--ignore-installed", str(wheel)],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (folder / "bin" / "pgtally").write_text(
        f"#!{folder}/bin/python\nfrom pgtally.cli.main import main\nmain()\n"
    )
    (folder / "bin" / "pgtally").chmod(0o755)
    return folder / "bin" / "pgtally"


def run(command, *arguments, **variables):
    done = subprocess.run(
        [command, *arguments], cwd=command.parent, capture_output=True, text=True,
        env={**os.environ, "COLUMNS": "200", **variables},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_holds_the_package_its_sql_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {
        "pgtally", f"pgtally-{__version__}.dist-info",
    }  # fmt: skip
    in_tree = {
        str(path.relative_to(ROOT))
        for folder in ("sql", "migrations")
        for path in (ROOT / folder).rglob("*.sql")
    }
    assert {name.removeprefix("pgtally/") for name in names if name.endswith(".sql")} == in_tree
    assert "pgtally/py.typed" in names
    assert not any("bench" in name or "tests" in name for name in names)


def test_it_knows_its_version(installed):
    assert run(installed, "--version").strip() == f"pgtally, version {__version__}"
    home = subprocess.run(
        [installed.parent / "python", "-c", "import pgtally; print(pgtally.__file__)"],
        cwd=installed.parent, capture_output=True, text=True,
    )  # fmt: skip
    assert str(installed.parent.parent) in home.stdout


def test_it_makes_a_database_stores_an_event_and_counts_it(installed, dsn):
    name = conninfo_to_dict(dsn)["dbname"] + "_wheel"
    target = make_conninfo(dsn, dbname=name)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"create database {name} template template0".encode())
        try:
            key = run(installed, "init", "--dsn", target).split()[-1]
            assert key.startswith("pgt_")
            assert psycopg.connect(target).execute("select tally.version()").fetchone() == (
                __version__,
            )
            port = free_port()
            service = subprocess.Popen(
                [installed, "serve"], cwd=installed.parent,
                env={
                    **os.environ, "PGTALLY_PORT": str(port),
                    "PGTALLY_DSN": make_conninfo(
                        target, user="tally_service", password=SERVICE_PASSWORD
                    ),
                },
            )  # fmt: skip
            url = f"http://127.0.0.1:{port}"
            try:
                wait_for(lambda: answers(url))
                made = httpx.post(
                    f"{url}/tenants", headers={"X-API-Key": key}, json={"name": "first"}
                ).json()
                headers = {"X-API-Key": made["apiKey"]}
                stored = httpx.post(f"{url}/events", headers=headers, json={"type": "sale"})
                assert stored.status_code == 201
                count = httpx.get(f"{url}/analytics/events/count", headers=headers)
                assert count.json() == {"total": 1}
            finally:
                service.terminate()
                service.wait(20)
        finally:
            connection.execute(f"drop database {name} with (force)".encode())


def test_jobs_run_on_their_schedule_without_pg_cron(installed, dsn, db, new_tenant):
    """pgtally jobs folds within a minute and a few seconds; the rest of the schedule is that of
    sql/jobs."""
    from pgtally.jobs import scheduled

    assert {(job.schedule, job.statement) for job in scheduled()} == {
        ("* * * * *", "call tally.fold('50 s')"),
        ("* * * * *", "call tally.fill()"),
        ("0 1 * * *", "call tally.finalize('day')"),
        ("0 1 * * 5", "call tally.finalize('week')"),
        ("0 0 1,2 * *", "call tally.finalize('month')"),
        ("17 * * * *", "call tally.maintain()"),
        ("0 3 * * *", "call tally.verify_recent()"),
    }
    tenant = new_tenant()
    db.execute('select * from api.events_ingest_json(%s, \'[{"type": "a"}]\')', (tenant,))
    # Whatever is left of this minute, and the fold.
    seconds = 60 - time.time() % 60 + 20
    process = subprocess.Popen([installed, "jobs", "--dsn", dsn], stderr=subprocess.PIPE)
    try:
        wait_for(lambda: db.execute("select from tally.summary_deltas").fetchone() is None, seconds)
    finally:
        process.terminate()
        process.wait(20)


def answers(url):
    try:
        return httpx.get(f"{url}/health/live").status_code == 200
    except httpx.TransportError:
        return False
