"""`make bench`, and what `pgtally bench` calls."""

import argparse
import logging

from bench import ingest, jobs, reads
from bench.report import Report
from bench.setup import connect, machine, scratch_database


def run(dsn: str | None, quick: bool, millions: list[float]) -> str:
    """Measures everything in a database of its own; writes bench/RESULTS.md, returns its path."""
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
    with scratch_database(dsn) as scratch:
        with connect(scratch) as connection:
            report = Report(machine(connection))
        ingest.bulk(scratch, report, quick)
        ingest.single(scratch, report, quick)
        reads.flat(scratch, report, [int(size * 1e6) for size in millions])
        day = 50_000 if quick else 500_000
        jobs.jobs(scratch, report, [day, day * 2, day * 4])
        jobs.footprint(scratch, report)
    return str(report.write())


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures pgtally and writes bench/RESULTS.md.")
    parser.add_argument("--dsn", help="A superuser's connection; a private cluster if absent.")
    parser.add_argument("--quick", action="store_true", help="Small sizes, to try it.")
    parser.add_argument(
        "--events", type=float, nargs="+", help="Millions of events in a tenant's year."
    )
    given = parser.parse_args()
    sizes = given.events or ([0.1, 0.2] if given.quick else [1, 10])
    print(run(given.dsn, given.quick, sizes))


if __name__ == "__main__":
    main()
