"""The smallest and the largest value are checked and healed like counts and sums are."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from tests import calls
from tests.brute_force import Event, ingest

AT = datetime.now(UTC) - timedelta(days=70)
SUMMARIES = """
  select period_type, kind, event_type, period_start, value_min, value_max
  from tally.summaries where tenant_id = %s order by 1, 2, 3, 4
"""


@pytest.fixture
def tenant(db, new_tenant):
    tenant = new_tenant("America/New_York", 7)
    values = (Decimal("-2.5"), Decimal(3), Decimal("11.25"))
    ingest(db, tenant, [Event(AT, UUID(int=n), "a", value) for n, value in enumerate(values)])
    calls.fold(db)
    return tenant


@pytest.mark.parametrize(
    ("unit", "kind"),
    [("quarter_hour", "event_type"), *((u, k) for u in calls.UNITS for k in ("event_type", "all"))],
)
def test_a_damaged_extreme_is_found_at_every_grain_and_rebuilt(db, tenant, unit, kind):
    right = calls.rows(db, SUMMARIES, tenant)
    found = [(unit, "a" if kind == "event_type" else None, "value range")]
    for column in ("value_min", "value_max"):
        for wrong in (f"{column} - 1", f"{column} + 1", "null"):
            db.execute(
                f"update tally.summaries set {column} = {wrong}"
                ' where period_type = %s::"char" and kind = %s::"char"',
                (unit, kind),
            )
            assert calls.verify(db, tenant) == found, (column, wrong)
            assert calls.rebuild(db, tenant) == (1, 1)
            assert calls.verify(db, tenant) == []
            assert calls.rows(db, SUMMARIES, tenant) == right


@pytest.mark.parametrize("unit", calls.UNITS)
def test_finalize_heals_a_damaged_extreme(db, tenant, unit):
    right = calls.rows(db, SUMMARIES, tenant)
    db.execute('update tally.summaries set value_max = 99 where period_type = %s::"char"', (unit,))
    calls.finalize(db, unit)
    assert calls.rows(db, SUMMARIES, tenant) == right
