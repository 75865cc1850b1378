"""`pgtally jobs`: what pg_cron does with sql/jobs, in the foreground, for servers without it."""

import re
import threading
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
import psycopg
from cronsim import CronSim

from pgtally.migrate import sql_files

SCHEDULED = re.compile(r"cron\.schedule\('([^']+)',\s*'([^']+)',\s*'((?:[^']|'')+)'\)", re.DOTALL)


class Job(msgspec.Struct, frozen=True):
    """A statement, and when it runs: five fields of cron, in UTC."""

    name: str
    schedule: str
    statement: str


def scheduled() -> list[Job]:
    """The jobs of sql/jobs, without those about pg_cron's own records."""
    jobs = []
    for path in sql_files("jobs"):
        for name, schedule, statement in SCHEDULED.findall(path.read_text()):
            if "cron." not in statement:
                jobs.append(Job(name, schedule, statement.replace("''", "'")))
    return jobs


def run_jobs(dsn: str, say: Callable[[str], None]) -> None:
    """Runs the jobs on their schedule until interrupted, each in a thread of its own, so that a
    long one delays no other; the next run makes up for one that was missed. Raises
    KeyboardInterrupt."""
    stopping = threading.Event()
    threads = [
        threading.Thread(target=_keep_running, args=(job, dsn, say, stopping), daemon=True)
        for job in scheduled()
    ]
    for thread in threads:
        thread.start()
    say(f"running {len(threads)} jobs; stop with Ctrl-C")
    try:
        while True:
            stopping.wait(3600)
    finally:
        stopping.set()


def _keep_running(
    job: Job, dsn: str, say: Callable[[str], None], stopping: threading.Event
) -> None:
    while True:
        now = datetime.now(UTC)
        following = next(CronSim(job.schedule, now))
        if stopping.wait((following - now).total_seconds()):
            return
        try:
            with psycopg.connect(
                dsn,
                autocommit=True,
                application_name=job.name,
                options="-c lock_timeout=60s -c statement_timeout=0",
            ) as connection:
                connection.execute(job.statement.encode())
        except psycopg.Error as error:
            # The next run does what this one has left; tally.job_runs and the doctor tell.
            say(f"{job.name}: {error}")
