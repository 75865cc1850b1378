"""The plans of the hot statements, those inside functions too: which rows they read, by which index,
in which partitions. Row security is in force, as for the service and for BI logins."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

FROM = datetime(2025, 1, 1, tzinfo=UTC)
TO = datetime(2025, 3, 1, tzinfo=UTC)
EVENTS = 20_000
TYPES = 5
LARGE = ("summaries", "events_", "summary_deltas")


class Plans:
    """A session that gets the plan of each statement, with the rows that it read."""

    def __init__(self, db: psycopg.Connection[Any]) -> None:
        self.db = db
        self.found: list[dict[str, Any]] = []
        db.execute("load 'auto_explain'")
        for name, value in (
            ("log_min_duration", "0"), ("log_nested_statements", "on"), ("log_analyze", "on"),
            ("log_timing", "off"), ("log_format", "json"), ("log_level", "notice"),
        ):  # fmt: skip
            db.execute(f"set auto_explain.{name} = {value}".encode())

        def take(diagnostic: psycopg.errors.Diagnostic) -> None:
            text = diagnostic.message_primary or ""
            if "plan:" in text:
                self.found.append(json.loads(text.partition("plan:")[2])["Plan"])

        db.add_notice_handler(take)

    def scans(self, statement: str, parameters: object = None) -> list[dict[str, Any]]:
        """The executed scans of tenants' tables, first of fresh, then of generic plans."""
        found: list[dict[str, Any]] = []
        for mode in ("auto", "force_generic_plan"):
            self.db.execute(f"set plan_cache_mode = {mode}".encode())
            self.found.clear()
            self.db.execute(statement.encode(), parameters)
            for plan in self.found:
                found += [
                    node
                    for node in nodes(plan)
                    if node.get("Relation Name", "").startswith(LARGE)
                    and node["Actual Loops"]
                    and node["Node Type"] != "ModifyTable"
                ]
        return found

    def check(self, statement: str, parameters: object = None, rows: int = 0) -> None:
        """Every large table is read by an index whose condition begins with the tenant, and no
        single scan touches more rows than given."""
        found = self.scans(statement, parameters)
        assert found, "no plan was seen"
        for node in found:
            if node["Relation Name"] == "summary_deltas":
                continue  # small at all times: tally.fold empties it every minute
            what = f"{node['Node Type']} on {node['Relation Name']}: {json.dumps(node)}"
            assert "Index" in node["Node Type"] or "Bitmap" in node["Node Type"], what
            read = node["Actual Loops"] * (
                node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
            )
            assert read <= rows, what
            if node["Node Type"] == "Bitmap Heap Scan":
                continue
            assert "tenant_id = " in node["Index Cond"], what


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    found = [plan]
    for child in plan.get("Plans", []):
        found += nodes(child)
    return found


@pytest.fixture(scope="module")
def year(shared_dsn):
    """Two tenants with events and summaries of two months: a tenant, and a session for plans."""
    with psycopg.connect(shared_dsn, autocommit=True) as db:
        tenants = [
            db.execute(
                "select tenant_id from api.tenant_create(%s)", (f"plans {n} {datetime.now(UTC)}",)
            ).fetchone()[0]
            for n in range(2)
        ]
        for week in range(9):
            db.execute("select tally.partition_create(%s)", (FROM + timedelta(weeks=week),))
        for tenant in tenants:
            db.execute(
                """
                insert into tally.events (
                  tenant_id, occurred_at, event_id, value, event_type, actor_id, data
                )
                select
                  %(tenant)s, %(from)s + n * (%(to)s - %(from)s) / %(events)s, gen_random_uuid(),
                  n, 'type ' || n * 7919 %% %(types)s, 'actor ' || n %% 100,
                  jsonb_build_object('n', n %% 10)
                from generate_series(0, %(events)s - 1) as n
                """,
                {"tenant": tenant, "from": FROM, "to": TO, "events": EVENTS, "types": TYPES},
            )
            db.execute("call tally.rebuild(%s)", (tenant,))
        db.execute("analyze tally.events, tally.summaries, tally.summary_deltas")
        yield Plans(db), tenants[0]


COUNT = "select * from api.event_count(%s, %s::text, %s::text)"
WEEK = (FROM + timedelta(days=3), FROM + timedelta(days=10))


def test_a_count_of_months_reads_a_row_a_month(year):
    plans, tenant = year
    plans.check(COUNT, (tenant, FROM, TO), rows=2)


def test_an_open_count_reads_the_same(year):
    plans, tenant = year
    plans.check("select * from api.event_count(%s)", (tenant,), rows=2)


@pytest.mark.parametrize("hours", [1, 7, 13, 20])
def test_ragged_edges_add_at_most_half_a_day_of_quarters_each_and_a_quarter_of_events(year, hours):
    plans, tenant = year
    edge = timedelta(hours=hours, minutes=7)
    # One scan may read the parts of both edges.
    plans.check(COUNT, (tenant, FROM + edge, TO - edge), rows=2 * 48 * TYPES)


def test_by_type(year):
    plans, tenant = year
    plans.check(
        "select * from api.event_by_type(%s, %s::text, %s::text)",
        (tenant, FROM, TO),
        rows=2 * TYPES,
    )


def test_one_type_of_many(year):
    plans, tenant = year
    plans.check(
        "select * from api.event_count(%s, %s::text, %s::text, '{type 3}')",
        (tenant, FROM, TO),
        rows=2 * TYPES,
    )


def test_a_timeline_of_days(year):
    plans, tenant = year
    plans.check(
        "select * from api.event_timeline(%s, 'day', %s::text, %s::text)",
        (tenant, FROM, TO),
        rows=59,
    )


def test_a_timeline_of_hours(year):
    plans, tenant = year
    plans.check(
        "select * from api.event_timeline(%s, 'hour', %s::text, %s::text)", (tenant, *WEEK),
        rows=7 * 96 * TYPES,
    )  # fmt: skip


def test_unique_actors(year):
    plans, tenant = year
    plans.check(
        "select * from api.event_count(%s, %s::text, %s::text, '{}', 'uniqueActors')",
        (tenant, FROM, TO),
        rows=2,
    )


def test_summaries(year):
    plans, tenant = year
    plans.check(
        "select * from api.summary_list(%s, 'day', '2025-01-01', '2025-03-01', 'type 1')",
        (tenant,), rows=59 * TYPES,
    )  # fmt: skip


def test_changes_read_what_has_changed(year):
    plans, tenant = year
    plans.check("select * from api.summary_changes(%s)", (tenant,), rows=0)


def test_a_filter_opens_the_partitions_of_its_range_alone(year):
    plans, tenant = year
    statement = (
        "select * from api.event_count(%s, %s::text, %s::text, '{}', 'count',"
        """ '[{"key": "n", "op": "=", "value": "3"}]')"""
    )
    scans = plans.scans(statement, (tenant, *WEEK))
    assert 1 <= len({scan["Relation Name"] for scan in scans}) <= 2
    assert all("tenant_id = " in scan.get("Index Cond", scan.get("Filter", "")) for scan in scans)


def test_a_page_of_events_reads_a_page(year):
    plans, tenant = year
    plans.check(
        "select * from api.event_list(%s, %s::text, %s::text, p_limit => 50)",
        (tenant, FROM, TO),
        rows=50,
    )
    page = "select * from api.event_list(%s, %s::text, %s::text, p_before_at => %s, p_limit => 50)"
    plans.check(page, (tenant, FROM, TO, WEEK[1]), rows=50)


def test_a_bi_login_reads_what_it_asks_for_by_an_index(year):
    plans, tenant = year
    login = plans.db.execute(
        "select role_name from tally.bi_role_create(%s, 'plans')", (tenant,)
    ).fetchone()[0]
    try:
        plans.db.execute(f"set session authorization {login}".encode())
        plans.check(
            "select sum(event_count) from bi.daily_summaries where period_start >= '2025-02-01'",
            rows=28 * TYPES,
        )
        for condition in (
            "period_on >= '2025-02-01'", "period_on >= to_date('2025-02-01', 'YYYY-MM-DD')",
        ):  # fmt: skip
            plans.check(
                f"select sum(event_count) from bi.daily_summaries where {condition}",
                rows=28 * TYPES,
            )
        for condition in (
            "period_on = '2025-02-03'",
            "period_on >= to_date('2025-02-03', 'YYYY-MM-DD') and period_on < to_date('2025-02-04', 'YYYY-MM-DD')",
            "local_start >= '2025-02-03' and local_start < '2025-02-04'",
            "local_start >= timestamp '2025-02-03' and local_start < timestamp '2025-02-04'",
        ):
            plans.check(
                "select date_trunc('hour', local_start), sum(event_count)"
                f" from bi.quarter_hour_summaries where {condition} group by 1",
                rows=96 * TYPES,
            )
        plans.check(
            "select count(*) from bi.events where occurred_at >= '2025-02-03Z'"
            " and occurred_at < '2025-02-04Z'",
            rows=EVENTS // 59 + 2,
        )
        plans.check("select bi.unique_actors('2025-01-01', '2025-03-01')", rows=2)
    finally:
        plans.db.execute("reset session authorization")
        plans.db.execute("call tally.bi_role_drop(%s)", (login,))


def test_a_statement_that_reads_too_much_is_caught(year):
    """The check of this file can fail: for a missing index condition, and for too many rows."""
    plans, tenant = year
    with pytest.raises(AssertionError, match="Seq Scan on summaries"):
        plans.check("select count(*) from tally.summaries where event_count > 0", rows=10**9)
    with pytest.raises(AssertionError, match="on summaries"):
        plans.check(
            "select count(*) from tally.summaries where tenant_id = %s and event_type = 'type 1'",
            (tenant,), rows=100,
        )  # fmt: skip
    with pytest.raises(AssertionError, match="no plan"):
        plans.check("select 1")


def test_row_security_leaves_every_key_usable(year):
    """Only leakproof operators become index conditions under row security: those of enums and jsonb
    are not, so no key of a tenant's table may begin with such columns."""
    plans, _ = year
    unusable = plans.db.execute(
        """
        select c.oid::regclass, a.attname
        from pg_class as c
        join pg_index as i on i.indrelid = c.oid
        cross join lateral unnest(i.indkey::int2[], i.indclass::oid[]) with ordinality
          as key (attnum, opclass, place)
        join pg_attribute as a on a.attrelid = c.oid and a.attnum = key.attnum
        join pg_opclass as o on o.oid = key.opclass
        join pg_amop as operator
          on operator.amopfamily = o.opcfamily and operator.amopstrategy = 3
          and operator.amoplefttype = o.opcintype and operator.amoprighttype = o.opcintype
        join pg_operator as op on op.oid = operator.amopopr
        join pg_proc as p on p.oid = op.oprcode
        where c.relnamespace = 'tally'::regnamespace and c.relrowsecurity
          and not p.proleakproof and place <= 5
        """
    ).fetchall()
    assert unusable == []
