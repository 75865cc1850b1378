"""Runs everything as `make run` does, in a home of its own, every example of the README, and the
tutorial from beginning to end."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import psycopg
import pytest
from pgtally.dev.cluster import free_port
from playwright.sync_api import sync_playwright

from docs.screenshots import cancellations_by_origin
from tests.conftest import ROOT, wait_for

pytestmark = pytest.mark.demo
LINES = re.compile(r"^((?:curl|psql) (?:[^\n]|\n(?!# ))*)\n((?:# [^\n]*\n)+)", re.M)


class Running:
    """`pgtally run` in a folder, with its output."""

    def __init__(self, home: Path, port: int) -> None:
        self.home = home
        self.log = home.parent / "log"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pgtally", "run"],
            cwd=ROOT,
            env={**os.environ, "PGTALLY_HOME": str(home), "PGTALLY_PORT": str(port)},
            stdout=self.log.open("w"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.ready_line = f"ready: http://127.0.0.1:{port}"

    def wait(self, seconds: float) -> None:
        def ready() -> bool:
            assert self.process.poll() is None, self.log.read_text()
            return self.ready_line in self.log.read_text().splitlines()

        wait_for(ready, seconds)

    def stop(self) -> int:
        os.killpg(self.process.pid, signal.SIGINT)
        return self.process.wait(60)


def follow_the_tutorial(home: Path) -> None:
    text = (ROOT / "docs" / "tutorial.md").read_text()
    script = "\n".join(re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S))
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / ".venv").symlink_to(ROOT / ".venv")
        done = subprocess.run(
            ["bash", "-ec", f". {home}/env\n{script}"], capture_output=True, text=True, cwd=folder
        )
    assert done.returncode == 0, done.stderr
    expected = [line[2:] for line in script.splitlines() if line.startswith("# ")]
    assert len(expected) >= 3
    for line in ("20,000 new, 0 duplicates, 0 bad", *expected):
        assert line in done.stdout, (line, done.stdout, done.stderr)


def look_at_the_page(published: dict) -> None:
    """From the sign-in form to United's cancellations by origin in three clicks."""
    (united,) = (tenant for tenant in published["tenants"] if tenant["name"] == "UA")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page()
        cancellations_by_origin(page, published["url"], united["apiKey"])
        shown = dict(
            zip(
                page.locator(".groups tbody th").all_inner_texts(),
                page.locator(".groups tbody td:nth-of-type(1)").all_inner_texts(),
                strict=True,
            )
        )
        browser.close()
    answer = httpx.get(
        published["url"] + "/analytics/events/breakdown",
        params={"by": "data.origin", "type": "cancellation"},
        headers={"X-API-Key": united["apiKey"]},
    ).json()
    assert shown == {group["values"][0]: str(group["total"]) for group in answer["groups"]}
    assert shown == {"EWR": "435", "LGA": "207", "JFK": "44"}


@pytest.fixture(scope="module")
def home():
    with tempfile.TemporaryDirectory(prefix="pgtally-demo-") as folder:
        Path(folder).chmod(0o755)
        home = Path(folder) / "state"
        yield home
        subprocess.run(
            [sys.executable, "-m", "pgtally", "remove", "--yes"],
            cwd=ROOT,
            env={**os.environ, "PGTALLY_HOME": str(home)},
            check=True,
        )


def test_the_first_run_loads_the_demo_and_the_readme_is_true(home):
    running = Running(home, free_port())
    try:
        running.wait(240)
        published = json.loads((home / "dev.json").read_text())
        assert (home / "dev.json").stat().st_mode & 0o777 == 0o600
        assert len(published["tenants"]) == 16
        totals = {"departure": 0, "cancellation": 0, "arrival": 0}
        for tenant in published["tenants"]:
            key = {"X-API-Key": tenant["apiKey"]}
            answer = httpx.get(published["url"] + "/analytics/events/by-type", headers=key)
            for row in answer.json():
                totals[row["type"]] += row["total"]
        assert totals == {"departure": 328_521, "cancellation": 8_255, "arrival": 327_346}
        with psycopg.connect(published["dsn"], autocommit=True) as connection:
            for tenant in published["tenants"]:
                assert not connection.execute(
                    "select * from tally.verify(%s)", (tenant["id"],)
                ).fetchall()

        examples = LINES.findall((ROOT / "README.md").read_text())
        assert len(examples) >= 6
        for command, expected in examples:
            done = subprocess.run(
                ["bash", "-c", f". {home}/env\n{command}"], capture_output=True, text=True, cwd=ROOT
            )
            wanted = "\n".join(line[2:] for line in expected.splitlines())
            assert done.stdout.strip() == wanted, (command, done.stdout, done.stderr)
        follow_the_tutorial(home)
        look_at_the_page(published)
    finally:
        assert running.stop() == 0


def test_a_second_run_finds_its_data_and_is_ready_in_seconds_and_loses_none(home):
    before = json.loads((home / "dev.json").read_text())
    started = time.monotonic()
    running = Running(home, free_port())
    try:
        running.wait(30)
        assert time.monotonic() - started < 15
        after = json.loads((home / "dev.json").read_text())
        assert after["tenants"] == before["tenants"]
        key = {"X-API-Key": after["tenants"][11]["apiKey"]}
        answer = httpx.get(after["url"] + "/analytics/events/count", headers=key)
        assert answer.json()["total"] > 100_000
        other = Running(home, free_port())
        assert other.process.wait(30) == 1
        assert "already runs" in other.log.read_text()
    finally:
        running.log = home.parent / "log"
        assert running.stop() == 0


def test_nothing_is_left_running(home):
    pid = home / "cluster" / "data" / "postmaster.pid"
    assert not pid.exists()
