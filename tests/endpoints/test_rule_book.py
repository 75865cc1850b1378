"""One rule book for events: whichever door an event comes through, it gets the same verdict, and
what is stored of it is the same."""

import contextlib
import json
from datetime import UTC, datetime
from decimal import Decimal

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pgtally.ingest.events import decode_events

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
ID = "0190163d-8694-739b-aea5-966c26f8ad91"
AT = '"occurredAt": "2025-06-01T12:00:00Z"'


def event(*fields, at=AT):
    return "{" + ", ".join(['"type": "x"', *([at] if at else []), *fields]) + "}"


def at(text):
    return event(at=f'"occurredAt": "{text}"')


def data(text):
    return event(f'"data": {text}')


def deep(levels):
    return '{"a": ' + "[" * (levels - 1) + "]" * (levels - 1) + "}"


# What has been found to differ between doors once, and its neighbours.
CORPUS = [
    event(), event('"value": null', '"data": null', '"actorId": null', '"sessionId": null'),
    at("2025-06-01T12:00:00.1234565Z"), at("2025-06-01T12:00:00.1234575Z"),
    at("2025-06-01T12:00:00.123456499Z"), at("2025-06-01T12:00:00.1234567891Z"),
    at("2025-06-01T12:00:00.9999996Z"), at("2025-06-01T12:00:00+0100"), at("2025-06-01T12:00:00+16:30"),
    at("2025-06-01T12:00:00-23:59"), at("2025-06-01T12:00:00+24:00"), at("2025-06-01T12:00:00+01"),
    at("2025-06-01t12:00:00z"), at("2025-06-01 12:00:00Z"), at("2025-06-01T23:59:60Z"),
    at("2025-06-01T24:00:00Z"), at("2025-02-29T12:00:00Z"), at("2025-06-01T12:00:00"), at("2025-06-01"),
    at("2025-06-01T12:00Z"), at("0000-01-01T00:00:00Z"), at("0001-01-01T00:00:00+05:00"),
    at("9999-12-31T23:59:59.999999Z"), at("1979-12-31T23:59:59Z"), at("2200-01-01T00:00:00Z"), at(""),
    at("infinity"), at("epoch"), at("now"), at("2025-06-01T12:00:00.Z"),
    event(f'"id": "{ID}"', at=None), event(f'"id": "{ID.upper()}"'), event(f'"id": "{ID.replace("-", "")}"'),
    event(f'"id": "{{{ID}}}"'), event(f'"id": "urn:uuid:{ID}"'), event('"id": "nonsense"'), event('"id": 5'),
    event('"id": "00000000-0000-4000-8000-000000000000"', at=None), event('"id": "00000000-0000-0000-0000-000000000000"'),
    event('"value": 1e29'), event('"value": 1e30'), event('"value": 999999999999999999999999999999'),
    event('"value": -1e30'), event('"value": 1e-100'), event('"value": 1e-101'), event('"value": 1e-200'),
    event('"value": 0e-5000'), event('"value": 0.' + "1" * 98), event('"value": 0.' + "1" * 99),
    event('"value": 1E+2'), event('"value": -0.0'), event('"value": 1.50'), event('"value": "5"'),
    event('"value": true'), event('"value": 1e99999999999999999999'), event('"value": {}'),
    data("{}"), data("[]"), data('"x"'), data("5"), data(deep(32)), data(deep(33)), data('{"a": "[[[[' + "[" * 40 + '"}'),
    data('{"a": 1e300}'), data('{"a": 1e301}'), data('{"a": 1e400}'), data('{"a": 1E+0301}'), data('{"a": 1e-301}'),
    data('{"a": ' + "9" * 300 + "}"), data('{"a": ' + "9" * 301 + "}"), data('{"a": 0.' + "1" * 16384 + "}"),
    data('{"a": "1e400 ' + "9" * 400 + '"}'), data('{"a": "\\u0000"}'), data('{"a": "\\\\u0000"}'),
    data('{"\\u0000": 1}'), data('{"a": "\\ud800"}'), data('{"a": "\\ud83d\\ude00"}'), data('{"a": 1, "a": 2}'),
    data("{" + ", ".join('"a": 1' for _ in range(5000)) + "}"), data("{" + " " * 65534 + "}"),
    data("{" + " " * 65535 + "}"), data('{"a": "' + "é" * 32763 + '"}'), data('{"a": "' + "é" * 32764 + '"}'),
    data("{" * 20000 + "}" * 20000),
    event('"actorId": ""'), event('"actorId": "' + "a" * 200 + '"'), event('"actorId": "' + "a" * 201 + '"'),
    event('"actorId": "' + "\U0001f600" * 200 + '"'), event('"actorId": 5'), event('"actorId": "a\\u0000b"'),
    event('"sessionId": "\\ud800"'), event('"sessionId": "' + "s" * 201 + '"'), event('"nonsense": 1'),
    event('"typ\\u0065": "y"'), event('"type": "y"'), event('"type": 5'), event('"Type": "y"'),
    '{"occurredAt": "2025-06-01T12:00:00Z"}', '{"type": null}', '{"type": ""}', '{"type": "\\u0000"}', "{}", "[]", "5", "null", '"x"',
]  # fmt: skip
FIELDS = "event_type, occurred_at, event_id, value, actor_id, session_id, data"


def by_python(text):
    """None for an event that is refused, else its columns."""
    batch = decode_events([text.encode()], NOW)
    if batch.errors:
        return None
    return (
        batch.event_type[0], batch.occurred_at[0].astimezone(UTC), batch.event_id[0], batch.value[0],
        batch.actor_id[0], batch.session_id[0], json.loads(batch.data[0].obj, parse_float=Decimal),
    )  # fmt: skip


def by_sql(db, text):
    """The same by the functions that psql and replay use."""
    try:
        if db.execute("select tally.event_errors(%s::json, 0)", (text,)).fetchall():
            return None
    except psycopg.errors.InvalidTextRepresentation:
        return None
    row = db.execute(f"select {FIELDS} from tally.event_columns(%s::json, %s)", (text, NOW))
    *columns, found = row.fetchone()
    (found,) = db.execute(
        "select data::text from tally.event_columns(%s::json, %s)", (text, NOW)
    ).fetchone()
    return (*columns, json.loads(found, parse_float=Decimal))


def same(one, other, text):
    """The same verdict; if it is good, the same columns, but for an id that was made."""
    assert (one is None) == (other is None), text[:200]
    if one is not None:
        made = '"id"' not in text or '"id": null' in text
        assert [x for n, x in enumerate(one) if n != 2 or not made] == [
            x for n, x in enumerate(other) if n != 2 or not made
        ], text[:200]


@pytest.mark.parametrize("text", CORPUS, ids=range(len(CORPUS)))
def test_python_and_sql_give_an_event_the_same_verdict_and_columns(db, text):
    same(by_python(text), by_sql(db, text), text)


numbers = st.one_of(
    st.integers(-(10**40), 10**40).map(str),
    st.decimals(allow_nan=False, allow_infinity=False).map(str).filter(lambda s: "E" not in s),
    st.builds(
        "{}{}e{}{}".format, st.sampled_from(["", "-"]), st.integers(0, 999),
        st.sampled_from(["", "+", "-"]), st.one_of(st.integers(0, 400), st.integers(0, 10**9)),
    ),
)  # fmt: skip
texts = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["\0", "a" * 200, "a" * 201, "\\u0000", "\\", '"', "é", "\U0001f600"]),
).map(json.dumps)
values = st.recursive(
    st.one_of(numbers, texts, st.sampled_from(["true", "false", "null", '"\\ud800"', "{}", "[]"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda v: "[" + ",".join(v) + "]"),
        st.lists(st.tuples(texts, inner), max_size=3).map(
            lambda v: "{" + ", ".join(f"{k}:{x}" for k, x in v) + "}"
        ),
    ),
    max_leaves=6,
)
times = st.one_of(
    st.sampled_from([json.dumps("2025-06-01T12:00:00Z"), "null", '""', "5"]),
    st.builds(
        '"{:04}-{:02}-{:02}{}{:02}:{:02}:{:02}{}{}"'.format,
        st.integers(1900, 2199), st.integers(0, 13), st.integers(0, 32), st.sampled_from("Tt _"),
        st.integers(0, 25), st.integers(0, 61), st.integers(0, 61),
        st.one_of(st.just(""), st.integers(0, 10**11).map(lambda n: f".{n}")),
        st.one_of(
            st.sampled_from(["Z", "z", "", "+00:00", "-00:00", "+1", "+5:30"]),
            st.builds("{}{:02}{}{:02}".format, st.sampled_from("+-"), st.integers(0, 25), st.sampled_from([":", ""]), st.integers(0, 61)),
        ),
    ),
)  # fmt: skip
ids = st.one_of(st.uuids().map(lambda u: f'"{u}"'), st.just(f'"{ID}"'), texts, st.just("null"))
members = st.lists(
    st.one_of(
        st.tuples(st.just('"type"'), texts),
        st.tuples(st.just('"occurredAt"'), times),
        st.tuples(st.just('"id"'), ids),
        st.tuples(st.sampled_from(['"actorId"', '"sessionId"', '"x"']), texts),
        st.tuples(st.just('"value"'), st.one_of(numbers, values)),
        st.tuples(st.just('"data"'), values),
    ),
    max_size=6,
    unique_by=lambda member: member[0],
).map(lambda m: "{" + ", ".join(f"{k}: {v}" for k, v in [('"type"', '"t"'), *m][-7:]) + "}")


@given(st.one_of(members, times.map(lambda t: f'{{"type": "t", "occurredAt": {t}}}')))
@settings(max_examples=400)
def test_so_they_do_for_whatever_comes(session_db, text):
    same(by_python(text), by_sql(session_db, text), text)


@pytest.fixture(scope="module")
def session_db(shared_dsn):
    with psycopg.connect(shared_dsn, autocommit=True) as connection:
        yield connection


def rows(db, tenant):
    return db.execute(
        f"select {FIELDS.replace('event_id, ', '')} from tally.events where tenant_id = %s"
        " order by event_type, occurred_at, value, actor_id, session_id, data::text",
        (tenant,),
    ).fetchall()


def test_every_door_takes_the_same_events_and_stores_the_same(
    service, session_db, pgtally, tmp_path
):
    """Those of the corpus that carry a time, since doors read their own clock."""
    timed = [text for text in CORPUS if "occurredAt" in text or ID in text]
    tenants = [service.tenant() for _ in range(5)]
    single, bulk, replay, by_json, imported = tenants
    good = 0
    for text in timed:
        answer = single.post("/events", content=text.encode())
        assert answer.status_code in (200, 201, 400), (text[:100], answer.text)
        good += answer.status_code != 400
    assert 20 < good < len(timed)
    body = "\n".join(timed).encode()
    headers = {"Content-Type": "application/x-ndjson", "Prefer": "handling=lenient"}
    answer = bulk.post("/events/bulk", content=body, headers=headers).json()
    assert answer["accepted"] + answer["duplicates"] == good
    assert answer["rejected"] == len(timed) - good
    for text in timed:
        session_db.execute(
            """
            insert into tally.rejected_events (tenant_id, event_hash, source, errors, event, replayable)
            values (%s, sha256(convert_to(%s, 'UTF8')), 'bulk', '[]', %s, true)
            """,
            (replay.tenant_id, text, text),
        )
        with contextlib.suppress(psycopg.Error):
            session_db.execute(
                "select * from api.events_ingest_json(%s, json_build_array(%s::json))",
                (by_json.tenant_id, text),
            )
    answer = replay.post("/events/rejected/replay").json()
    assert (answer["accepted"] + answer["duplicates"], answer["rejected"]) == (
        good, len(timed) - good,
    )  # fmt: skip
    file = tmp_path / "events.ndjson"
    file.write_bytes(body)
    pgtally("import", "--tenant", imported.tenant_id, file, code=1)
    stored = rows(session_db, single.tenant_id)
    # Times that fall together under one id made them duplicates of each other there.
    for tenant in tenants[1:]:
        assert rows(session_db, tenant.tenant_id) == stored
