"""api.events_ingest and api.events_ingest_json."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pgtally.ingest.uuid7 import uuid7, uuid7_time

from tests.brute_force import Event, ingest

AT = datetime(2024, 1, 1, tzinfo=UTC)


def json_ingest(db, tenant, events):
    return db.execute(
        "select * from api.events_ingest_json(%s, %s::json)", (tenant, json.dumps(events))
    ).fetchone()


def test_duplicates_within_and_across_batches_are_counted_and_dropped(db, new_tenant):
    tenant = new_tenant()
    one, two = Event(AT, UUID(int=1), "a"), Event(AT, UUID(int=2), "b")
    assert ingest(db, tenant, [one, one]) == (1, 1)
    assert ingest(db, tenant, [two, one, two]) == (1, 2)
    assert ingest(db, tenant, [one, two]) == (0, 2)
    assert db.execute(
        "select event_type, total from api.event_by_type(%s)", (tenant,)
    ).fetchall() == [
        ("a", 1),
        ("b", 1),
    ]


def test_the_first_of_two_versions_of_an_event_stays(db, new_tenant):
    tenant = new_tenant()
    ingest(db, tenant, [Event(AT, UUID(int=1), "a", 5)])
    assert ingest(db, tenant, [Event(AT, UUID(int=1), "b", 7)]) == (0, 1)
    ((total,),) = db.execute("select total from api.event_count(%s, p_measure => 'sum')", (tenant,))
    assert total == 5


@pytest.mark.parametrize("value", [None, Decimal("-12.50"), 0])
@pytest.mark.parametrize("actor", [None, "ann"])
def test_a_lone_event_adds_to_the_summaries_what_it_adds_in_a_batch(db, new_tenant, value, actor):
    event = Event(AT + timedelta(minutes=44), UUID(int=1), "a", value, actor)
    old = Event(AT, UUID(int=2), "b")
    alone, together, among_old_ones = new_tenant(), new_tenant(), new_tenant()
    ingest(db, among_old_ones, [old])
    assert ingest(db, alone, [event]) == (1, 0)
    assert ingest(db, together, [old, event]) == (2, 0)
    assert ingest(db, among_old_ones, [old, event]) == (1, 1)
    deltas = [
        db.execute(
            """
            select
              quarter_hour, event_count, value_count, value_sum, value_min, value_max, actor_hashes
            from tally.summary_deltas where tenant_id = %s and event_type = 'a'
            """,
            (tenant,),
        ).fetchall()
        for tenant in (alone, together, among_old_ones)
    ]
    assert deltas[0] == deltas[1] == deltas[2]
    assert deltas[0][0][1] == 1


def test_two_tenants_may_have_events_with_the_same_id(db, new_tenant):
    event = Event(AT, UUID(int=1), "a")
    assert ingest(db, new_tenant(), [event]) == (1, 0)
    assert ingest(db, new_tenant(), [event]) == (1, 0)


def test_json_takes_every_field_and_fills_in_the_rest(db, new_tenant):
    tenant = new_tenant()
    known = uuid7(AT)
    events = [
        {"type": "sale", "occurredAt": "2024-01-01T12:00:00.123456+05:45", "id": str(UUID(int=7)),
         "actorId": "ann", "sessionId": "s", "value": 1.25, "data": {"a": [1, None]}},
        {"type": "sale", "id": str(known)},
        {"type": "sale", "data": None, "value": None},
    ]  # fmt: skip
    assert json_ingest(db, tenant, events) == (3, 0, 0)
    assert json_ingest(db, tenant, events[:2]) == (0, 2, 0)
    stored = db.execute(
        "select event_id, occurred_at, value, actor_id, session_id, data from tally.events order by occurred_at"
    ).fetchall()
    assert stored[0][:2] == (known, AT)
    first = stored[1]
    assert first[0] == UUID(int=7)
    assert first[1] == datetime(2024, 1, 1, 6, 15, 0, 123456, UTC)
    assert first[2:] == (pytest.approx(1.25), "ann", "s", {"a": [1, None]})
    assert stored[2][0].version == 7


BAD = [
    (5, "", "expected an object"),
    ({}, "/type", "required"),
    ({"type": ""}, "/type", "1 to 200"),
    ({"type": "x" * 201}, "/type", "1 to 200"),
    ({"type": 5}, "/type", "string"),
    ({"type": None}, "/type", "string"),
    ({"type": "x", "typ": 1}, "/typ", "unknown field"),
    ({"type": "x", "a/b~": 1}, "/a~1b~0", "unknown field"),
    ({"type": "x", "occurredAt": "2024-01-01T00:00:00"}, "/occurredAt", "RFC 3339"),
    ({"type": "x", "occurredAt": "2024-13-01T00:00:00Z"}, "/occurredAt", "RFC 3339"),
    ({"type": "x", "occurredAt": "yesterday"}, "/occurredAt", "RFC 3339"),
    ({"type": "x", "occurredAt": 1}, "/occurredAt", "string"),
    ({"type": "x", "occurredAt": "1979-12-31T23:59:59Z"}, "/occurredAt", "earliest"),
    ({"type": "x", "occurredAt": "2999-01-01T00:00:00Z"}, "/occurredAt", "future"),
    ({"type": "x", "id": "7"}, "/id", "UUID"),
    ({"type": "x", "id": str(UUID(int=7))}, "/id", "UUIDv7"),
    ({"type": "x", "value": "5"}, "/value", "number"),
    ({"type": "x", "value": 1e30}, "/value", "1e30"),
    ({"type": "x", "data": [1]}, "/data", "object"),
    ({"type": "x", "data": {"a": "x" * 66_000}}, "/data", "65,536"),
    ({"type": "x", "actorId": ""}, "/actorId", "1 to 200"),
]


@pytest.mark.parametrize(("event", "pointer", "text"), BAD)
def test_a_bad_event_is_refused_with_its_place_and_nothing_is_stored(
    db, new_tenant, event, pointer, text
):
    tenant = new_tenant()
    with pytest.raises(psycopg.Error) as error:
        json_ingest(db, tenant, [{"type": "good"}, event])
    assert error.value.sqlstate == "TY400"
    (found,) = json.loads(error.value.diag.message_detail)
    assert found["index"] == 1
    assert found["pointer"] == pointer
    assert text in found["detail"]
    assert db.execute("select count(*) from tally.events").fetchone() == (0,)
    assert db.execute("select count(*) from tally.summary_deltas").fetchone() == (0,)


def test_data_may_have_32_levels_but_not_33(db, new_tenant):
    def nested(levels: int) -> dict:
        return {"a": nested(levels - 1)} if levels > 1 else {"a": 1}

    tenant = new_tenant()
    assert json_ingest(db, tenant, [{"type": "x", "data": nested(32)}]) == (1, 0, 0)
    with pytest.raises(psycopg.Error, match="cannot be stored"):
        json_ingest(db, tenant, [{"type": "x", "data": nested(33)}])


@pytest.mark.parametrize("count", [0, 10_001])
def test_a_batch_has_1_to_10000_events(db, new_tenant, count):
    with pytest.raises(psycopg.Error, match="1 to 10,000"):
        json_ingest(db, new_tenant(), [{"type": "x"}] * count)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e30"])
def test_a_value_that_is_no_reasonable_number_is_refused(db, new_tenant, value):
    with pytest.raises(psycopg.Error):
        ingest(db, new_tenant(), [Event(AT, UUID(int=1), "a", value)])
    assert db.execute("select count(*) from tally.events").fetchone() == (0,)


def test_events_older_than_the_retention_are_refused(db, new_tenant):
    tenant = new_tenant(retention_days=30)
    now = datetime.now(UTC)
    assert ingest(db, tenant, [Event(now - timedelta(days=29), UUID(int=1), "a")]) == (1, 0)
    with pytest.raises(psycopg.Error) as error:
        ingest(db, tenant, [Event(now - timedelta(days=31), UUID(int=2), "a")])
    assert "earliest time that this tenant keeps" in error.value.diag.message_detail


def test_an_unknown_tenant_is_refused(db):
    with pytest.raises(psycopg.Error, match="no such tenant"):
        ingest(db, UUID(int=5), [Event(AT, UUID(int=1), "a")])


def test_arrays_of_different_lengths_are_refused(db, new_tenant):
    with pytest.raises(psycopg.Error, match="differ in length"):
        db.execute(
            "select * from api.events_ingest(%s, array[now()], '{}', array['a'], '{}', '{}', '{}', '{}')",
            (new_tenant(),),
        )


@settings(max_examples=50)
@given(st.datetimes(datetime(1980, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)))
def test_uuid7_carries_its_time_in_both_languages(db, at):
    made = uuid7(at)
    milliseconds = at.replace(microsecond=at.microsecond // 1000 * 1000)
    assert uuid7_time(made) == milliseconds
    (read, other) = db.execute(
        "select tally.uuid7_time(%s), tally.uuid7(%s)", (made, milliseconds)
    ).fetchone()
    assert read == milliseconds
    assert other.version == 7
    assert other.variant == made.variant
    assert uuid7_time(other) == milliseconds
    assert uuid7_time(UUID(int=5)) is None
