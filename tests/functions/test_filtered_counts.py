"""A count or timeline with filters is answered by a meter that counts the same, and is the same."""

import json
import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from tests.brute_force import Event, ingest
from tests.calls import fold, one, rows

ORIGIN = datetime(2024, 3, 9, 5, tzinfo=UTC)
ZONE = "America/New_York"
FILTERS = '[{"key": "plan", "op": "=", "value": "pro"}]'
MEASURES = ["count", "uniqueActors", "sum", "avg", "min", "max"]


def figure(events, measure):
    values = [e.value for e in events if e.value is not None]
    return {
        "count": Decimal(len(events)),
        "uniqueActors": Decimal(len({e.actor for e in events})),
        "sum": sum(values, Decimal(0)),
        "avg": sum(values, Decimal(0)) / len(values) if values else None,
        "min": min(values, default=None),
        "max": max(values, default=None),
    }[measure]


def drawn(chance, first, count):
    return [
        Event(
            ORIGIN + timedelta(seconds=chance.randrange(5 * 86_400)), UUID(int=first + n),
            chance.choice("ab"), chance.choice([None, Decimal(chance.randrange(90)) / 10]),
            f"actor {chance.randrange(20)}", (("plan", chance.choice(["pro", "free"])),),
        )
        for n in range(count)
    ]  # fmt: skip


def check(db, tenant, events, chance):
    """Each measure of ranges that begin and end anywhere, and hours of them."""
    for measure in MEASURES:
        low, high = sorted(chance.randrange(5 * 86_400) for _ in range(2))
        start, end = (ORIGIN + timedelta(seconds=s) for s in (low, high))
        meant = [e for e in events if start <= e.at < end and dict(e.data)["plan"] == "pro"]
        common = (tenant, start.isoformat(), end.isoformat(), measure, FILTERS)
        call = "(%s, p_from => %s, p_to => %s, p_measure => %s, p_filters => %s::jsonb"
        (total,) = one(db, f"select total from api.event_count{call})", *common)
        assert total == figure(meant, measure) or abs(total - figure(meant, measure)) < 1e-12
        for unit in ("hour", "day"):
            told = rows(
                db, f"select bucket_start, total from api.event_timeline{call}, p_interval => %s)",
                *common, unit,
            )  # fmt: skip
            if measure == "count":
                assert sum(row[1] for row in told) == len(meant)


def read_raw(db, tenant, measure):
    """Did the question scan events? (Whole days: no edge is read from them.)"""
    scanned = "select coalesce(sum(idx_scan + seq_scan), 0) from pg_stat_xact_all_tables where relname like 'events_%%'"
    with db.transaction():
        before = one(db, scanned)
        one(
            db, "select * from api.event_count(%s, '2024-03-10', '2024-03-13', p_measure => %s, p_filters => %s::jsonb)",
            tenant, measure, FILTERS,
        )  # fmt: skip
        return one(db, scanned) != before


@pytest.mark.parametrize("seed", range(3))
def test_a_filtered_count_is_the_same_from_events_from_a_meter_and_from_both(db, new_tenant, seed):
    chance = random.Random(seed)
    tenant = new_tenant(ZONE)
    events = drawn(chance, 0, 300)
    ingest(db, tenant, events)
    check(db, tenant, events, chance)
    one(
        db, "select * from api.meter_create(%s, 'pro', p_filters => %s::jsonb, p_by => '{type}', p_max_groups => 1)",
        tenant, json.dumps(json.loads(FILTERS)),
    )  # fmt: skip
    late = drawn(chance, 1000, 100)
    ingest(db, tenant, late)
    events += late
    check(db, tenant, events, chance)
    assert read_raw(db, tenant, "count")
    one(db, "call tally.fill()")
    check(db, tenant, events, chance)
    late = drawn(chance, 2000, 100)
    ingest(db, tenant, late)
    events += late
    for step in (lambda: None, lambda: fold(db), lambda: one(db, "call tally.finalize('day')")):
        step()
        check(db, tenant, events, chance)
        assert not any(read_raw(db, tenant, measure) for measure in MEASURES)
    one(db, "select * from api.meter_delete(%s, 'pro')", tenant)
    check(db, tenant, events, chance)
    assert read_raw(db, tenant, "count")
