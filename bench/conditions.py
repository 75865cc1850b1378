"""The same questions where a tenant is less comfortable: with deltas waiting to be folded, with a
writer and with other readers beside, and after a restart."""

import contextlib
import threading
from collections.abc import Iterator
from multiprocessing import get_context
from uuid import UUID

from bench.http_load import Load, Service, load, request, write_until_stopped
from bench.report import Report
from bench.setup import Connection, Scratch, connect, seconds

WRITERS = 64
READERS = 8
ASKED_SECONDS = 3
# A delta an event, as lone events make them, of the last ten minutes.
WAITING = """
  select count(i.accepted)
  from generate_series(1::bigint, %(deltas)s) as n
  cross join lateral api.events_ingest(
    %(tenant)s, array[now() - n %% 600 * interval '1 second'], array[gen_random_uuid()],
    array['type ' || n %% 20], array[n %% 100]::numeric[], array['actor ' || (hashint8(n) & 8191)],
    array[null]::text[], array['{"plan": "pro"}'::jsonb]) as i
"""


def ask(port: int, key: str, questions: dict[str, str], readers: int = 1) -> dict[str, Load]:
    """Each question again and again, for a few seconds."""
    found = {}
    for name, path in questions.items():
        load(port, [request(path, key)] * 10 * readers, readers, 1)
        found[name] = load(port, [request(path, key)] * 200 * readers, readers, ASKED_SECONDS)
    return found


@contextlib.contextmanager
def writer(dsn: str, port: int, key: str) -> Iterator[None]:
    """Someone who sends single events as fast as they are taken, and fold, as often as it runs."""
    process = get_context("spawn").Process(target=write_until_stopped, args=(port, key, WRITERS))
    stop = threading.Event()

    def fold() -> None:
        with connect(dsn) as connection:
            # As pg_cron does.
            while not stop.wait(2):
                connection.execute("call tally.fold('50 s')")

    folding = threading.Thread(target=fold)
    process.start()
    folding.start()
    try:
        yield
    finally:
        stop.set()
        process.terminate()
        process.join()
        folding.join()


def conditions(
    dsn: str, report: Report, running: Service, tenant: UUID, key: str,
    questions: dict[str, str], deltas: int,
) -> None:  # fmt: skip
    """p50 of questions up to now: quiet, and as multiples of that."""
    found: dict[str, dict[str, Load]] = {}
    with connect(dsn) as connection:
        connection.execute("call tally.fold()")
        report.progress("reads, quiet")
        found["quiet"] = ask(running.port, key, questions)
        report.progress(f"reads, {READERS} readers")
        found[f"{READERS} readers"] = ask(running.port, key, questions, READERS)
        connection.execute(WAITING, {"tenant": tenant, "deltas": deltas})
        connection.execute("analyze tally.summary_deltas")
        report.progress("reads, deltas waiting")
        found[f"{deltas:,} deltas waiting"] = ask(running.port, key, questions)
        connection.execute("call tally.fold()")
        before = _lately(connection, tenant)
        with writer(dsn, running.port, key):
            report.progress("reads, a writer beside")
            took = seconds(lambda: found.update(writer=ask(running.port, key, questions)))
        stored = (_lately(connection, tenant) - before) / took
        connection.execute("call tally.fold()")
    quiet = found.pop("quiet")
    report.section(
        "Reads in use",
        "p50 over HTTP, ranges to now: quiet, in ms, and how many times that it is with others "
        f"beside. {WRITERS} connections wrote {stored:,.0f} events a second meanwhile. All share "
        "the cores.",
    )
    report.table(
        ["question", "quiet", *found],
        [
            [
                name, f"{one.p50_ms:.2f}",
                *(f"{other[name].p50_ms / one.p50_ms:.2f}" for other in found.values()),
            ]
            for name, one in quiet.items()
        ],
    )  # fmt: skip
    if failed := sum(one.failed for part in [quiet, *found.values()] for one in part.values()):
        report.text(f"{failed} answers were no successes.")


def cold(
    scratch: Scratch, report: Report, running: Service, key: str, questions: dict[str, str]
) -> None:
    """The first answer after a restart of the server, against the same question once more."""
    rows = []
    if scratch.restart is None:
        return
    for name, path in questions.items():
        report.progress(f"after a restart, {name}")
        dropped = scratch.restart()
        # Until the pool has connected anew.
        while load(running.port, [request(questions["select 1"], key)] * 64, READERS, 5).failed:
            pass
        first, again = (load(running.port, [request(path, key)] * n, 1, 30) for n in (1, 50))
        factor = first.p50_ms / again.p50_ms
        rows.append([name, f"{first.p50_ms:.1f}", f"{again.p50_ms:.2f}", f"{factor:.0f}"])
    how = "dropped too" if dropped else "not dropped, for want of rights"
    report.section(
        "After a restart",
        f"The server was restarted before each question; the system's cache was {how}. ms.",
    )
    report.table(["question", "first answer", "p50 then", "times"], rows)


def _lately(connection: Connection, tenant: UUID) -> int:
    """Events of the last hour."""
    row = connection.execute(
        "select count(*) from tally.events"
        " where tenant_id = %s and occurred_at >= now() - interval '1 hour'",
        (tenant,),
    ).fetchone()
    return int(row[0]) if row else 0
