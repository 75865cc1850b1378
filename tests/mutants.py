"""Deliberate errors, and the tests that have to catch them: `make mutants`, or some of them with
`.venv/bin/python -m tests.mutants fold rotate`.

Each is applied to a copy of the tree, alone, and the tests named with it are run there. One that
passes shows what nobody looks at; one whose text is no longer found, or which breaks everything
instead of one thing, shows nothing, and has to be brought up to date.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
LEFT_OUT = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build")


class Mutant(NamedTuple):
    """An error: in the one file of this name, the one place with the old text gets the new one."""

    name: str
    file: str
    old: str
    new: str
    tests: str


MUTANTS = [
    Mutant(
        "F1 fold takes the beginning of the transaction for the time of a change",
        "fold_tenant.sql",
        "v_locked_at := clock_timestamp();",
        "v_locked_at := now();",
        "test_changes.py",
    ),
    Mutant(
        "F1 rebuild and erasure too",
        "replace_summaries.sql",
        "v_locked_at timestamptz := clock_timestamp();",
        "v_locked_at timestamptz := now();",
        "test_changes.py",
    ),
    Mutant(
        "F1 fold reads the clock before it has the tenant's row",
        "fold_tenant.sql",
        """  select * into v_tenant from tally.tenants where tenant_id = p_tenant for no key update;
  v_locked_at := clock_timestamp();""",
        """  v_locked_at := clock_timestamp();
  select * into v_tenant from tally.tenants where tenant_id = p_tenant for no key update;""",
        "test_changes.py",
    ),
    Mutant(
        "F2 a page of changes ends in the middle of a moment",
        "summary_changes.sql",
        "fetch first p_limit rows with ties;",
        "fetch first p_limit rows only;",
        "test_revisions.py",
    ),
    Mutant(
        "F3 rebuild does not compare extremes",
        "replace_summaries.sql",
        """  where (s.event_count, s.value_count, s.value_sum, s.value_min, s.value_max)
      is distinct from (excluded.event_count, excluded.value_count, excluded.value_sum,
        excluded.value_min, excluded.value_max)""",
        """  where (s.event_count, s.value_count, s.value_sum)
      is distinct from (excluded.event_count, excluded.value_count, excluded.value_sum)""",
        "test_extremes.py",
    ),
    Mutant(
        "F3 verify does not compare extremes",
        "period_differences.sql",
        """  where (r.event_count, r.value_count, r.value_sum, r.value_min, r.value_max)
      is distinct from (s.event_count, s.value_count, s.value_sum, s.value_min, s.value_max)""",
        """  where (r.event_count, r.value_count, r.value_sum)
      is distinct from (s.event_count, s.value_count, s.value_sum)""",
        "test_extremes.py",
    ),
    Mutant(
        "F5 a longer retention moves the bound of events back",
        "retain_tenant.sql",
        """    events_kept_from = greatest(events_kept_from, tally.period_start(
      now() - event_retention - interval '1 day', 'day', time_zone, week_start)),""",
        """    events_kept_from = coalesce(tally.period_start(
      now() - event_retention - interval '1 day', 'day', time_zone, week_start), events_kept_from),""",
        "test_retention_bounds.py",
    ),
    Mutant(
        "F5 a longer retention moves the bound of quarter hours back",
        "retain_tenant.sql",
        """    quarter_hours_kept_from = greatest(quarter_hours_kept_from, tally.period_start(
      now() - quarter_hour_retention - interval '1 day', 'day', time_zone, week_start))""",
        """    quarter_hours_kept_from = coalesce(tally.period_start(
      now() - quarter_hour_retention - interval '1 day', 'day', time_zone, week_start), quarter_hours_kept_from)""",
        "test_retention_bounds.py",
    ),
    Mutant(
        "F6 weeks stay final after a change of calendar",
        "tenant_set_calendar.sql",
        "    weeks_finalized_to = '-infinity',\n",
        "",
        "test_revisions.py",
    ),
    Mutant(
        "F6 a change of zone leaves the bound at a midnight of the old one",
        "tenant_set_calendar.sql",
        "    events_kept_from = tally.period_ceiling(events_kept_from, 'day', p_time_zone, p_week_start),\n",
        "",
        "test_retention_bounds.py",
    ),
    Mutant(
        "F7 the first event of the running period is a second revision, in fold",
        "fold_tenant.sql",
        "1 + (p.period_start < tally.finalized_to(",
        "1 + (p.period_start <= tally.finalized_to(",
        "test_revisions.py",
    ),
    Mutant(
        "F7 and in rebuild",
        "replace_summaries.sql",
        "1 + (r.period_start < tally.finalized_to(",
        "1 + (r.period_start <= tally.finalized_to(",
        "test_revisions.py",
    ),
    Mutant(
        "F12 a dropped partition is told to nobody",
        "partition_drop_expired.sql",
        "    insert into tally.event_moves (partition_name, event_count) values (v_partition.relname, v_events);\n",
        "",
        "test_changes.py",
    ),
]


class Stale(Exception):
    """The mutant does not fit the tree any more."""


def find(tree: Path, name: str) -> Path:
    """The one file of this name, wherever it lies."""
    found = sorted(path for path in tree.rglob(name) if path.is_file())
    if len(found) != 1:
        raise Stale(f"{len(found)} files are named {name}")
    return found[0]


def run(tree: Path, tests: list[str]) -> str:
    """caught, passed, or broken where no test failed and yet something did."""
    # The copy's packages, wherever they lie, before the installed ones.
    roots = [tree] if (tree / "service" / "__init__.py").exists() else [tree / "service", tree]
    environment = {**os.environ, "PYTHONPATH": ":".join(map(str, roots))}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "--tb=line", *tests],
        cwd=tree, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode == 0:
        return "passed"
    last = done.stdout.strip().rpartition("\n")[2]
    if re.search(r"\d+ failed", last):
        return "caught"
    print(done.stdout[-1000:], done.stderr[-1000:], file=sys.stderr)
    return "broken"


def attempt(tree: Path, mutant: Mutant) -> str:
    """Applies a mutant to the tree, runs its tests, and takes it back."""
    try:
        path = find(tree, mutant.file)
        text = path.read_text()
        if text.count(mutant.old) != 1:
            raise Stale(f"{text.count(mutant.old)} places in {mutant.file} have the old text")
        tests = [str(find(tree / "tests", name)) for name in mutant.tests.split()]
    except Stale as stale:
        return f"stale: {stale}"
    path.write_text(text.replace(mutant.old, mutant.new))
    try:
        return run(tree, tests)
    finally:
        path.write_text(text)


def main(words: list[str]) -> int:
    """Tries the mutants whose name holds one of the words, or all; 1 unless each is caught."""
    chosen = [m for m in MUTANTS if not words or any(word in m.name for word in words)]
    with tempfile.TemporaryDirectory(prefix="pgtally-mutants-") as folder:
        tree = Path(folder) / "tree"
        shutil.copytree(ROOT, tree, ignore=LEFT_OUT)
        (tree / ".venv").symlink_to(ROOT / ".venv")
        # Readable for the account that PostgreSQL runs as.
        Path(folder).chmod(0o755)
        left = []
        for mutant in chosen:
            started = time.monotonic()
            result = attempt(tree, mutant)
            print(f"{result:8} {time.monotonic() - started:5.0f} s  {mutant.name}", flush=True)
            if result != "caught":
                left.append(mutant)
    print(f"{len(chosen) - len(left)} of {len(chosen)} caught")
    return 1 if left or not chosen else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
