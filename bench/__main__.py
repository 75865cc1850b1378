"""`make bench`, or `.venv/bin/python -m bench --size full`."""

from pathlib import Path
from typing import Literal

import psycopg
import rich_click as click
from pgtally.cli.console import explain, show_one
from pgtally.dev.cluster import ClusterError
from pgtally.migrate import MigrationError

from bench.suite import run


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--dsn", help="A superuser's connection; a private cluster if absent.")
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
@click.option(
    "--size", type=click.Choice(["quick", "standard", "full"]), default="standard",
    help="quick: two minutes, to try it; standard: ten; full, to 50 million events: half an hour.",
)  # fmt: skip
@click.option(
    "--output", default=".", type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The folder for RESULTS.md and its pictures.",
)  # fmt: skip
def main(
    dsn: str | None, as_json: bool, size: Literal["quick", "standard", "full"], output: Path
) -> None:
    """Measure ingest, reads, jobs and footprint beside what one would do without pgtally.

    In a database of its own, which is dropped at the end.
    """
    try:
        results = run(dsn, size, output)
    except (ClusterError, MigrationError, psycopg.Error) as error:
        text = explain(error) if isinstance(error, psycopg.Error) else str(error)
        raise click.ClickException(text) from error
    show_one({"results": str(results)}, as_json)


main()
