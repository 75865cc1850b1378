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


# The end of a file that is loaded after the schema, for errors in what migrations have made.
LATER = "revoke all on function tally.check_partition_version from public;"

MUTANTS = [
    Mutant(
        "F1 fold takes the beginning of the transaction for the time of a change",
        "add_summaries.sql",
        "v_locked_at timestamptz := clock_timestamp();",
        "v_locked_at timestamptz := now();",
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
        "F1 fold reads the clock before it has the tenant's lock",
        "add_summaries.sql",
        "v_locked_at timestamptz := clock_timestamp();",
        "v_locked_at timestamptz := statement_timestamp();",
        "test_changes.py",
    ),
    Mutant(
        "B11 a figure is final again at the time at which finalize asked for the lock",
        "finalize_period.sql",
        "v_checked_at := clock_timestamp();",
        "v_checked_at := statement_timestamp();",
        "test_changes.py",
    ),
    Mutant(
        "B11 nobody is told that a figure is final again",
        "finalize_period.sql",
        "case when s.revision > 1 then v_checked_at else s.updated_at end",
        "s.updated_at",
        "test_revisions.py",
    ),
    Mutant(
        "A11 a final figure holds for the beginning of the transaction",
        "finalize_period.sql",
        "v_checked_at := clock_timestamp();",
        "v_checked_at := now();",
        "test_revisions.py",
    ),
    Mutant(
        "B2 rebuild counts what waits to be folded",
        "rebuild_range.sql",
        "  perform tally.add_summaries(v_tenant, v_waiting);\n",
        "",
        "test_healed.py",
    ),
    Mutant(
        "B12 rebuild skips a week or month that alone has a summary",
        "next_day.sql",
        "return least(v_alone, v_next);",
        "return v_next;",
        "test_rebuild.py",
    ),
    Mutant(
        "B7 the range before counts a date that the zone left out",
        "range_previous.sql",
        "v_days := round(extract(epoch from p_to - p_from) / 86400);",
        "v_days := v_to - v_from;",
        "test_periods.py",
    ),
    Mutant(
        "B1 a period that is cut alike is counted as moved",
        "moved_starts.sql",
        "    where not (",
        "    where s.at is not null or not (",
        "test_calendar.py",
    ),
    Mutant(
        "B1 what is gone and what is new share a revision",
        "retire_summaries.sql",
        "- (not m.begins)::integer",
        "- 0",
        "test_calendar.py",
    ),
    Mutant(
        "B1 after a change of calendar nobody remembers what was final as nothing",
        "told_to.sql",
        "    p_tenant.told_to, p_period_type",
        "    '-infinity', p_period_type",
        "test_calendar.py",
    ),
    Mutant(
        "B1 what an earlier change has emptied keeps its revision under another date",
        "retire_summaries.sql",
        "and (m.begins or m.began)",
        "and (m.begins or s.event_count > 0)",
        "test_calendar.py",
    ),
    Mutant(
        "B1 what an earlier change has retired is told again",
        "retire_summaries.sql",
        "and (m.begins or m.began)",
        "",
        "test_calendar.py",
    ),
    Mutant(
        "B1 all that a change of calendar moves comes in one page",
        "retire_summaries.sql",
        "updated_at = clock_timestamp(),",
        "updated_at = now(),",
        "test_calendar.py",
    ),
    Mutant(
        "B1 a date that has lost its events is forgotten",
        "retire_summaries.sql",
        "from unnest(v_types, v_dates) as u",
        "from unnest('{}'::text[], '{}'::date[]) as u",
        "test_calendar.py",
    ),
    Mutant(
        "quotas: an event too many is let in",
        "events_ingest.sql",
        "v_tenant.stored_events >= v_tenant.event_quota",
        "v_tenant.stored_events > v_tenant.event_quota",
        "test_quotas.py",
    ),
    Mutant(
        "quotas: events that retention has removed still count",
        "usage_measure.sql",
        "          and s.period_start >= v_tenant.events_kept_from\n",
        "",
        "test_quotas.py",
    ),
    Mutant(
        "quotas: what is not folded does not count",
        "usage_measure.sql",
        "select sum(d.event_count)",
        "select 0 * sum(d.event_count)",
        "test_quotas.py",
    ),
    Mutant(
        "quotas: the newest rejected events go first",
        "usage_measure.sql",
        "order by e.rejected_id desc",
        "order by e.rejected_id",
        "test_quotas.py",
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
        "retention_apply.sql",
        "v_tenant.events_kept_from := greatest(v_tenant.events_kept_from, tally.period_start(",
        "v_tenant.events_kept_from := coalesce(tally.period_start(",
        "test_retention_bounds.py",
    ),
    Mutant(
        "F5 a longer retention moves the bound of quarter hours back",
        "retention_apply.sql",
        "v_tenant.quarter_hours_kept_from := greatest(v_tenant.quarter_hours_kept_from, tally.period_start(",
        "v_tenant.quarter_hours_kept_from := coalesce(tally.period_start(",
        "test_retention_bounds.py",
    ),
    Mutant(
        "F6 weeks stay final after a change of calendar",
        "tenant_set_calendar.sql",
        "    weeks_finalized_to = '-infinity',\n",
        "",
        "test_calendar.py",
    ),
    Mutant(
        "F6 a change of zone leaves the bound at a midnight of the old one",
        "tenant_set_calendar.sql",
        "events_kept_from = tally.period_ceiling(t.events_kept_from, 'day', p_time_zone, p_week_start),",
        "events_kept_from = t.events_kept_from,",
        "test_retention_bounds.py",
    ),
    Mutant(
        "F7 the first event of the running period is a second revision, in fold",
        "add_summaries.sql",
        "case when p.period_start < p.told_to",
        "case when p.period_start <= p.told_to",
        "test_revisions.py",
    ),
    Mutant(
        "F7 and in rebuild",
        "replace_summaries.sql",
        "case when r.period_start < v_told_to",
        "case when r.period_start <= v_told_to",
        "test_revisions.py",
    ),
    Mutant(
        "F4 the tenant stays set after the transaction",
        "tenant_set_current.sql",
        "set_config('tally.tenant_id', p_tenant::text, true)",
        "set_config('tally.tenant_id', p_tenant::text, false)",
        "test_transaction.py",
    ),
    Mutant(
        "F8 rotating prolongs a key that expires sooner",
        "key_rotate.sql",
        "set expires_at = least(k.expires_at, v_until)",
        "set expires_at = v_until",
        "test_key_rotate.py",
    ),
    Mutant(
        "F8 a bucket grows without bound",
        "rate_take.sql",
        """  select least(
    p_per_minute,
    b.tokens + v_rate * greatest(0, extract(epoch from clock_timestamp() - b.updated_at)))""",
        """  select
    b.tokens + v_rate * greatest(0, extract(epoch from clock_timestamp() - b.updated_at))""",
        "test_rate_take.py",
    ),
    Mutant(
        "F8 a bucket refills ten times as fast",
        "rate_take.sql",
        "v_rate double precision := p_per_minute / 60.0;",
        "v_rate double precision := p_per_minute / 6.0;",
        "test_rate_take.py",
    ),
    Mutant(
        "F8 an address saves up tries without bound",
        "rate_limit.py",
        "tokens = min(self._per_minute, tokens + (time.monotonic() - at) * rate)",
        "tokens = tokens + (time.monotonic() - at) * rate",
        "test_clocks.py",
    ),
    Mutant(
        "F8 a lot is spent after its two seconds",
        "rate_limit.py",
        "(self.tokens <= 0 or now >= self.until)",
        "(self.tokens <= 0)",
        "test_clocks.py",
    ),
    Mutant(
        "F8 the checksum of a key is not checked",
        "authentication.py",
        "if not match or hashlib.sha256(key[:-6].encode()).hexdigest()[:6] != match[2]:",
        "if not match:",
        "test_clocks.py",
    ),
    Mutant(
        "F9 a policy takes rows of other tenants",
        "check_partition_version.sql",
        LATER,
        "alter policy own_tenant on tally.receipts with check (true);\n" + LATER,
        "test_grants.py",
    ),
    Mutant(
        "F9 a policy shows rows of other tenants",
        "check_partition_version.sql",
        LATER,
        "alter policy own_tenant on tally.erasures using (true);\n" + LATER,
        "test_grants.py",
    ),
    Mutant(
        "F9 a grant too many",
        "check_partition_version.sql",
        LATER,
        "grant select on tally.api_keys to tally_tenant;\n" + LATER,
        "test_grants.py",
    ),
    Mutant(
        "F10 what is no event is replayed",
        "rejected_replay.sql",
        "      and r.replayable\n",
        "",
        "test_boundaries.py",
    ),
    Mutant(
        "F10 brackets are taken for levels",
        "ingest/events.py",
        " > MAX_DATA_DEPTH and _depth(raw) > MAX_DATA_DEPTH:",
        " > MAX_DATA_DEPTH:",
        "test_boundaries.py",
    ),
    Mutant(
        "F10 data of exactly 64 KB is refused",
        "ingest/events.py",
        "if len(raw) > max_bytes:",
        "if len(raw) >= max_bytes:",
        "test_boundaries.py",
    ),
    Mutant(
        "F10 gzip that inflates to exactly the limit is refused",
        "body.py",
        "if len(content) > max_bytes or stream.unconsumed_tail:",
        "if len(content) >= max_bytes or stream.unconsumed_tail:",
        "test_boundaries.py",
    ),
    Mutant(
        "F11 the RateLimit header is not documented",
        "openapi.py",
        """    "RateLimit": _header("What is left, and the seconds until all of it is back."),\n""",
        "",
        "test_documented.py",
    ),
    Mutant(
        "F11 the 422 of a reused Idempotency-Key is not documented",
        "openapi.py",
        "        statuses.add(422)\n",
        "",
        "test_documented.py",
    ),
    Mutant(
        "F12 a dropped partition is told to nobody",
        "partition_drop_expired.sql",
        "    insert into tally.partition_changes (partition_name, event_count) values (v_partition.relname, v_events);\n",
        "",
        "test_changes.py",
    ),
    Mutant(
        "F13 an export that nobody reads is waited for without end",
        "edge.py",
        "            async with asyncio.timeout(self._seconds):\n",
        "            async with asyncio.timeout(None):\n",
        "test_unread.py",
    ),
    Mutant(
        "F13 or keeps its connection when it is cut off",
        "raw_events.py",
        "    passage_of(request.scope).closing.append(export.aclose)\n",
        "",
        "test_unread.py",
    ),
    Mutant(
        "an event at the end of a range counts",
        "raw_totals.sql",
        "    and e.occurred_at < p_to\n",
        "    and e.occurred_at <= p_to\n",
        "test_answers.py",
    ),
    Mutant(
        "an hour that has just ended touches a range",
        "timeline_buckets.sql",
        "hours.at + interval '1 hour' > p_from",
        "hours.at + interval '1 hour' >= p_from",
        "test_hours.py",
    ),
    Mutant(
        "fold takes the deltas of every tenant",
        "fold_tenant.sql",
        "    where d.tenant_id = p_tenant and d.delta_id <= v_last\n    returning *",
        "    where d.delta_id <= v_last\n    returning *",
        "test_answers.py",
    ),
    Mutant(
        "a late event leaves a final figure final",
        "fold_tenant.sql",
        "      updated_at = excluded.updated_at,\n      final_at = null\n",
        "      updated_at = excluded.updated_at\n",
        "test_jobs.py",
    ),
    Mutant(
        "a batch that waits while its week is attached is refused",
        "events_ingest.sql",
        "        if v_constraint <> '' then\n",
        "        if true then\n",
        "test_attach.py",
    ),
    Mutant(
        "of an event that is stored already it is said that it is new",
        "events_ingest_each.sql",
        "          v_accepted[v_i] := v_new = 1;",
        "          v_accepted[v_i] := true;",
        "test_requests.py",
    ),
    Mutant(
        "fold replaces instead of adding",
        "fold_tenant.sql",
        "event_count = s.event_count + excluded.event_count,",
        "event_count = excluded.event_count,",
        "test_jobs.py",
    ),
    Mutant(
        "fold cuts weeks on Mondays for everybody",
        "fold_tenant.sql",
        "tally.first_date(on_day, 'week', v_tenant.week_start)",
        "tally.first_date(on_day, 'week', 1)",
        "test_answers.py",
    ),
    Mutant(
        "a batch is stored in the order that it came in",
        "events_ingest.sql",
        "unnest(p_data)\n        order by 2, 3;\n",
        "unnest(p_data);\n",
        "test_deadlocks.py",
    ),
    Mutant(
        "a flush stores events in the order of their requests",
        "events_ingest_each.sql",
        "      order by u.tenant_id, u.occurred_at, u.event_id\n",
        "      order by u.tenant_id, u.i\n",
        "test_deadlocks.py",
    ),
    Mutant(
        "the second version of an event replaces the first",
        "events_ingest.sql",
        "          on conflict do nothing\n",
        "          on conflict (tenant_id, occurred_at, event_id) do update set value = excluded.value\n",
        "test_ingest.py",
    ),
    Mutant(
        "events older than the retention are taken",
        "earliest_time.sql",
        "p_tenant.events_kept_from, now() - p_tenant.event_retention)",
        "p_tenant.events_kept_from)",
        "test_ingest.py",
    ),
    Mutant(
        "erasing an actor leaves the summaries as they were",
        "actor_erase.sql",
        "    perform tally.rebuild_range(p_tenant, v_day, v_end);\n",
        "",
        "test_retention.py",
    ),
    Mutant(
        "a BI login sees the tenant that it sets",
        "check_partition_version.sql",
        LATER,
        """
        create or replace function tally.current_tenant() returns uuid language sql stable as $$
          select nullif(current_setting('tally.tenant_id', true), '')::uuid
        $$;
        """
        + LATER,
        "test_catalog.py",
    ),
    Mutant(
        "a tenant revokes the keys of others",
        "key_revoke.sql",
        "k.tenant_id = p_tenant",
        "k.tenant_id is not null",
        "test_attacks.py",
    ),
    Mutant(
        "A8 a successor has a bucket of its own",
        "key_rotate.sql",
        "p_by, coalesce(v_old.lineage_id, v_old.key_id)) as m;",
        "p_by) as m;",
        "test_keys.py",
    ),
    Mutant(
        "A8 a successor lives for ever",
        "key_rotate.sql",
        "coalesce(v_old.expires_at, 'infinity'),",
        "'infinity',",
        "test_keys.py",
    ),
    Mutant(
        "A8 a key that a limited key makes has a bucket of its own",
        "key_create.sql",
        "    if v_asking.rate_limits_per_minute <> '{}' then",
        "    if false then",
        "test_keys.py",
    ),
    Mutant(
        "A8 a weaker key rotates a stronger one",
        "key_rotate.sql",
        "  elsif v_asking.key_id is not null then",
        "  elsif false then",
        "test_keys.py",
    ),
    Mutant(
        "A8 a revoked key makes keys while it is remembered",
        "key_asking.sql",
        "    and k.revoked_at is null\n",
        "",
        "test_keys.py",
    ),
    Mutant(
        "A10 an address that used up its tries has no key looked up",
        "authentication.py",
        "            self._look_ups.check(address)",
        "            self._addresses.check(address)",
        "test_clocks.py",
    ),
    Mutant(
        "A10 unknown keys of the right form are looked up without end",
        "authentication.py",
        "                self._look_ups.spend(address)",
        "                pass",
        "test_clocks.py",
    ),
    Mutant(
        "A11 whoever fills a memory makes it forget everybody",
        "rate_limit.py",
        "        entries.popitem(last=False)",
        "        entries.clear()",
        "test_clocks.py",
    ),
    Mutant(
        "A11 the audit log takes any key for the one that asked",
        "audit.sql",
        "(k.tenant_id = p_tenant or k.tenant_id is null))",
        "true)",
        "test_keys.py",
    ),
    Mutant(
        "A4 a login that is not dropped can log in again",
        "bi_role_drop.sql",
        """  commit;
  -- Who made""",
        """  -- Who made""",
        "test_bi_logins.py",
    ),
    Mutant(
        "C3 what a BI login owns is deleted unasked",
        "bi_role_drop.sql",
        "if v_owned is null or p_drop_owned then",
        "if true then",
        "test_bi_logins.py",
    ),
    Mutant(
        "A4 BI logins may enter the other databases of a cluster",
        "cluster.py",
        "revoke connect on database postgres, template1 from public",
        "select 1",
        "test_bi_logins.py",
    ),
    Mutant(
        "meters: a creation holds up ingest while it waits for a job",
        "meter_create.sql",
        """  perform tally.tenant_lock(p_tenant);
  perform tally.ingest_lock_exclusive(p_tenant);
""",
        """  perform tally.ingest_lock_exclusive(p_tenant);
  perform tally.tenant_lock(p_tenant);
""",
        "test_meter_races.py",
    ),
    Mutant(
        "meters: a creation does not wait for batches under way",
        "meter_create.sql",
        "  perform tally.ingest_lock_exclusive(p_tenant);\n",
        "",
        "test_meter_races.py",
    ),
    Mutant(
        "meters: a meter that is complete forgets days that retention has passed",
        "fold/fill_meters.sql",
        "least(v_meter.filled_from, v_tenant.events_kept_from)",
        "v_tenant.events_kept_from",
        "test_meters.py",
    ),
    Mutant(
        "meters: a month is read before it is made",
        "fold/fill_meters.sql",
        "      or v_day = v_month\n",
        "",
        "test_meters.py",
    ),
    Mutant(
        "meters: filling passes days whose events are there no more",
        "fold/fill_meters.sql",
        "and s.event_count > 0",
        "and s.event_count < 0",
        "test_meters.py",
    ),
    Mutant(
        "meters: a change of calendar keeps names that an erasure will not find",
        "recut_meters.sql",
        "m.dimensions && array['actorId', 'sessionId']",
        "m.dimensions && array['nobody']",
        "test_meters.py",
    ),
    Mutant(
        "meters: fold takes all that waits in one step",
        "fold_meters.sql",
        "    exit when v_entries >= 100000;\n",
        "",
        "test_meters.py",
    ),
    Mutant(
        "meters: fold leaves to its next run what a step did not take",
        "job_step.sql",
        "m.delta_id <= v_last",
        "m.delta_id < 0",
        "test_meters.py",
    ),
    Mutant(
        "meters: a tenant of whom there is no end keeps all others waiting",
        "each_tenant.sql",
        " or clock_timestamp() > v_turn_ends_at",
        "",
        "test_jobs.py",
    ),
    Mutant(
        "meters: quarter hours survive a change of calendar",
        "recut_meters.sql",
        "s.period_type in ('q', 'm')",
        "s.period_type = 'm'",
        "test_meters.py",
    ),
    Mutant(
        "meters: a day that was counted anew stays open",
        "recount_meters.sql",
        "(p_final or s.period_start < p_tenant.days_finalized_to)",
        "p_final",
        "test_meters.py",
    ),
    Mutant(
        "meters: percentiles of another number are taken for those asked for",
        "meter_find.sql",
        "m.percentiles and m.value_of = p_question.value_of",
        "m.percentiles",
        "test_meter_answers.py",
    ),
    Mutant(
        "meters: fold forgets the histogram of before",
        "add_meter_summaries.sql",
        "tally.histogram_compact(s.value_histogram || excluded.value_histogram)",
        "excluded.value_histogram",
        "test_meters.py",
    ),
    Mutant(
        "meters: a number is counted in the bucket below",
        "0013.meter_percentiles.sql",
        "2000 + ceil(ln(",
        "2000 + floor(ln(",
        "test_meters.py",
    ),
    Mutant(
        "meters: a percentile is the number below it",
        "0013.meter_percentiles.sql",
        ">= ceil(f.fraction",
        ">= floor(f.fraction",
        "test_meters.py",
    ),
    Mutant(
        "meters: percentiles of a part are told for the whole period",
        "meter_summary_list.sql",
        "filter (where p.value_histogram is null), 0) = 0",
        "filter (where p.value_histogram is null), 0) >= 0",
        "test_meters.py",
    ),
    Mutant(
        "meters: verify does not look at histograms",
        "meter_differences.sql",
        "      or c.value_histogram is distinct from m.value_histogram;",
        ";",
        "test_meters.py",
    ),
    Mutant(
        "meters: the total is read from a meter that has not the groups",
        "group_totals.sql",
        "  if p_pick = '' then",
        "  if p_pick is not null then",
        "test_meters.py",
    ),
]


class Stale(Exception):
    """The mutant does not fit the tree any more."""


def find(tree: Path, name: str) -> Path:
    """The one file of this name, wherever it lies."""
    found = [path for path in tree.rglob(name) if ".venv" not in path.parts]
    if len(found) != 1:
        raise Stale(f"{len(found)} files are named {name}")
    return found[0]


def run(tree: Path, tests: list[str]) -> str:
    """caught, passed, or broken where no test failed and yet something did."""
    # The copy's packages, wherever they lie, before the installed ones.
    roots = [tree / "service", tree]
    environment = {**os.environ, "PYTHONPATH": ":".join(map(str, roots))}
    options = ["-x", "-q", "--no-header", "--tb=line", "--hypothesis-profile=first-failure"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *tests],
        cwd=tree, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode == 0:
        return "passed"
    # A fixture may notice as well, but then by an assertion: SQL that does not load proves nothing.
    asserted = re.search(r"^(E +|/\S+ )AssertionError", done.stdout, re.MULTILINE)
    if asserted or re.search(r"\d+ failed", done.stdout.strip().rpartition("\n")[2]):
        return "caught"
    print(done.stdout[-1000:], done.stderr[-1000:], file=sys.stderr)
    return "broken"


def fit(tree: Path, mutant: Mutant) -> tuple[Path, list[str]]:
    """The file to change, and the tests to run. Raises Stale."""
    path = find(tree, mutant.file)
    places = path.read_text().count(mutant.old)
    if places != 1:
        raise Stale(f"{places} places in {mutant.file} have the old text")
    return path, [str(find(tree / "tests", name)) for name in mutant.tests.split()]


def attempt(tree: Path, mutant: Mutant) -> str:
    """Applies a mutant to the tree, runs its tests, and takes it back."""
    path, tests = fit(tree, mutant)
    text = path.read_text()
    path.write_text(text.replace(mutant.old, mutant.new))
    try:
        return run(tree, tests)
    finally:
        path.write_text(text)


def main(words: list[str]) -> int:
    """Tries the mutants whose name holds one of the words, or all; 1 unless each is caught."""
    chosen = [m for m in MUTANTS if not words or any(word in m.name for word in words)]
    caught = 0
    with tempfile.TemporaryDirectory(prefix="pgtally-mutants-") as folder:
        # Readable for the account that PostgreSQL runs as.
        Path(folder).chmod(0o755)
        tree = Path(folder) / "tree"
        shutil.copytree(ROOT, tree, ignore=LEFT_OUT)
        (tree / ".venv").symlink_to(ROOT / ".venv")
        fitting, tests = [], set()
        for mutant in chosen:
            try:
                tests.update(fit(tree, mutant)[1])
                fitting.append(mutant)
            except Stale as stale:
                print(f"stale             {mutant.name}: {stale}", flush=True)
        # A test that fails anyway catches nothing.
        if fitting and run(tree, sorted(tests)) != "passed":
            print("the tests fail without any error made on purpose")
            return 1
        for mutant in fitting:
            started = time.monotonic()
            result = attempt(tree, mutant)
            print(f"{result:8} {time.monotonic() - started:5.0f} s  {mutant.name}", flush=True)
            caught += result == "caught"
    print(f"{caught} of {len(chosen)} caught")
    return 0 if caught == len(chosen) > 0 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
