"""The measurements in their order: what `python -m bench` runs."""

import logging
from pathlib import Path
from typing import Literal, NamedTuple

from bench import ingest, jobs, reads
from bench.report import Report
from bench.setup import connect, machine, scratch_database

Size = Literal["quick", "standard", "full"]


class Sizes(NamedTuple):
    """Events of the small tenants that only take place, of those whose year is read, and of those
    whose day is folded and rebuilt; deltas that wait while others ask; sparse deltas to fold."""

    small: list[int]
    years: list[int]
    days: list[int]
    waiting: int
    sparse: int


SIZES: dict[Size, Sizes] = {
    "quick": Sizes([100, 10_000], [100_000, 200_000], [50_000, 100_000], 5_000, 2_000),
    "standard": Sizes(
        [100, 10_000, 100_000], [1_000_000, 10_000_000], [250_000, 500_000, 1_000_000], 50_000,
        20_000,
    ),
    "full": Sizes(
        [100, 10_000, 100_000], [1_000_000, 10_000_000, 50_000_000],
        [1_250_000, 2_500_000, 5_000_000], 50_000, 40_000,
    ),
}  # fmt: skip


def run(dsn: str | None, size: Size, folder: Path) -> Path:
    """Measures in a database of its own, which is dropped at the end, on the server of `dsn` or on
    a private cluster; writes RESULTS.md and its pictures, and returns its path."""
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
    sizes = SIZES[size]
    with scratch_database(dsn) as server:
        scratch = server.dsn
        with connect(scratch) as connection:
            report = Report(folder, f"python -m bench --size {size}", machine(connection))
        ingest.bulk(scratch, report, size == "quick")
        ingest.single(scratch, report, size == "quick")
        reads.flat(server, report, sizes.small, sizes.years, sizes.waiting)
        jobs.jobs(scratch, report, sizes.days)
        jobs.sparse(scratch, report, sizes.sparse)
        jobs.footprint(scratch, report)
    return report.write()
