"""pgtally tenant export, pgtally tenant import: a whole tenant goes elsewhere as one file."""

import gzip
import json
import time
from uuid import uuid4

import msgspec
import psycopg
import pytest
from pgtally.cli.transfer import open_input, read_copy


@pytest.fixture
def db(shared_dsn):
    with psycopg.connect(shared_dsn, autocommit=True) as connection:
        yield connection


def name_of(kind):
    return f"{kind} {time.monotonic_ns()}"


@pytest.fixture
def tenant(pgtally, db):
    """A tenant with settings of its own and 12,000 events, across a change of its clock."""
    name = name_of("original")
    made = pgtally(
        "tenant", "create", name, "--time-zone", "America/New_York", "--week-start", 7, "--json"
    )
    pgtally("tenant", "update", name, "--retention-days", 36500,
            "--quarter-hour-retention-days", 36500, "--limit", "bulk=7")  # fmt: skip
    for batch in range(3):
        db.execute(
            """
            select * from api.events_ingest_json(%s, (
              select json_agg(json_build_object(
                'type', 'type ' || n %% 7, 'actorId', 'ü ' || n %% 50, 'value', n + 0.25,
                'sessionId', 's', 'data', json_build_object('n', json_build_array(n, null)),
                'occurredAt', timestamptz '2024-02-20' + n * interval '3 minutes'))
              from generate_series(%s::integer, %s::integer) as n))
            """,
            (made["tenant_id"], batch * 4000 + 1, batch * 4000 + 4000),
        )
    return made["tenant_id"], name


def settings(pgtally, name):
    (found,) = [row for row in pgtally("tenant", "list", "--json") if row["name"] == name]
    return {
        key: value
        for key, value in found.items()
        if key not in ("tenant_id", "name", "created_at")
    }  # fmt: skip


def summaries(db, tenant):
    """Every period and type, with all figures, as the tenant's calendar cuts them."""
    db.execute("call tally.fold()")
    return db.execute(
        """
        select period_type, kind, period_start, event_type, event_count, value_sum, value_max, actors::text
        from tally.summaries where tenant_id = %s order by 1, 2, 3, 4
        """,
        (tenant,),
    ).fetchall()


def events(db, tenant):
    return db.execute(
        """
        select occurred_at, event_id, event_type, value, actor_id, session_id, data
        from tally.events where tenant_id = %s order by 1, 2
        """,
        (tenant,),
    ).fetchall()


def test_a_copy_has_the_settings_the_calendar_and_every_figure(pgtally, db, tenant, tmp_path):
    original, name = tenant
    file = tmp_path / "tenant.ndjson.gz"
    told = pgtally("tenant", "export", name, file, "--json")
    assert told == {"tenant_id": original, "name": name, "events": 12000}
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    copy = name_of("copy")
    made = pgtally("tenant", "import", file, "--name", copy, "--json")
    assert (made["accepted"], made["duplicates"], made["bad"]) == (12000, 0, 0)
    assert made["api_key"].startswith("pgt_")
    assert settings(pgtally, copy) == settings(pgtally, name)
    assert settings(pgtally, copy)["week_start"] == 7
    assert events(db, made["tenant_id"]) == events(db, original)
    assert summaries(db, made["tenant_id"]) == summaries(db, original) != []
    pgtally("verify", copy)
    # Run again, it goes on with the tenant that it made.
    again = pgtally("tenant", "import", file, "--name", copy, "--json")
    assert again == {
        "tenant_id": made["tenant_id"], "name": copy, "accepted": 0, "duplicates": 12000, "bad": 0,
    }  # fmt: skip


def test_a_copy_holds_also_what_is_larger_than_an_event_of_our_own_may_be(
    pgtally, service, db, tmp_path
):
    """1 MB of data from Segment's clients, 64 KB from others."""
    client = service.tenant(name=(name := name_of("large")))
    message = {"type": "track", "event": "a", "userId": "u", "properties": {"k": "x" * 900_000}}
    assert client.post("/v1/track", json=message).status_code == 200
    file = tmp_path / "tenant.ndjson.gz"
    pgtally("tenant", "export", name, file)
    made = pgtally("tenant", "import", file, "--name", name_of("copy"), "--json")
    assert (made["accepted"], made["bad"]) == (1, 0)
    assert events(db, made["tenant_id"]) == events(db, client.tenant_id)


def test_a_deleted_tenant_comes_back_from_its_copy(pgtally, db, tenant, tmp_path):
    original, name = tenant
    file = tmp_path / "tenant.ndjson.gz"
    pgtally("tenant", "export", original, file)
    before = summaries(db, original)
    pgtally("tenant", "delete", name, "--confirm", name)
    made = pgtally("tenant", "import", file, "--json")
    assert made["tenant_id"] != original
    assert summaries(db, made["tenant_id"]) == before


def test_an_import_goes_on_after_an_interruption_but_never_in_a_tenant_of_somebody_else(
    pgtally, db, tenant, tmp_path
):
    original, name = tenant
    whole, cut = tmp_path / "whole.gz", tmp_path / "cut.gz"
    pgtally("tenant", "export", name, whole)
    # The one that has the name already is another, even if it is the original.
    second = pgtally("tenant", "import", whole, "--json")
    assert (second["name"], second["accepted"]) == (name, 12000)
    assert second["tenant_id"] != original
    assert "several tenants are named" in pgtally("tenant", "export", name, cut, code=1)
    pgtally("tenant", "delete", second["tenant_id"], "--confirm", name)
    taken = name_of("taken")
    other = pgtally("tenant", "create", taken, "--json")
    third = pgtally("tenant", "import", whole, "--name", taken, "--json")
    assert third["tenant_id"] not in (other["tenant_id"], original)
    assert third["accepted"] == 12000
    cut.write_bytes(whole.read_bytes()[:-40_000])
    copy = name_of("copy")
    error = pgtally("tenant", "import", cut, "--name", copy, code=1)
    assert "run it again" in error
    # Not before it has its events: older ones would be refused.
    assert settings(pgtally, copy)["event_retention_days"] is None
    done = pgtally("tenant", "import", whole, "--name", copy, "--json")
    assert done["accepted"] + done["duplicates"] == 12000
    assert done["duplicates"] > 0
    assert "api_key" not in done
    assert settings(pgtally, copy) == settings(pgtally, name)
    assert events(db, done["tenant_id"]) == events(db, original)


def test_a_copy_is_json_lines_settings_first(pgtally, tenant, tmp_path):
    original, name = tenant
    file = tmp_path / "x.gz"
    pgtally("tenant", "export", name, file)
    with gzip.open(file) as lines:
        first, second = (json.loads(next(lines)) for _ in range(2))
    assert first["pgtallyTenant"] == 1
    assert first["settings"]["id"] == original
    assert first["settings"]["timeZone"] == "America/New_York"
    assert "apiKey" not in json.dumps(first)
    assert second["type"] == "type 1"


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b'{"type": "a"}\n', b'{"pgtallyTenant": 2, "settings": {}}\n', b"\x1f\x8b nonsense",
     b'{"pgtallyTenant": 1, "settings": {"name": "x"}}\n', b"\xff\xfe\n"],
)  # fmt: skip
def test_another_file_is_told_from_a_copy(tmp_path, content):
    file = tmp_path / "x"
    file.write_bytes(content)
    with file.open("rb") as raw, pytest.raises((msgspec.DecodeError, OSError)):
        read_copy(open_input(raw))


def test_another_file_is_refused_before_anything_is_made(pgtally, tmp_path):
    file = tmp_path / "x"
    file.write_text('{"type": "a"}\n')
    name = f"nothing {uuid4()}"
    assert "is no file of" in pgtally("tenant", "import", file, "--name", name, code=1)
    assert name not in pgtally("tenant", "list", "--json")


def test_a_copy_has_the_meters_and_fills_them(pgtally, db, tenant, tmp_path):
    original, name = tenant
    of = ("--tenant", name)
    filters = ("--filter", "n>5", "--filter", "k=a", "--filter", "k=b", "--type", "type 3")
    pgtally("meter", "create", "all", *of, "--by", "type", "--by", "actorId", "--max-groups", "7")
    pgtally("meter", "create", "some", *of, *filters, "--of", "data.n", "--unique", "sessionId")
    pgtally("meter", "create", "gone", *of)
    pgtally("meter", "delete", "gone", *of)
    # The newest version counts.
    pgtally("meter", "update", "all", *of, "--percentiles")
    pgtally("meter", "fill")
    file = tmp_path / "tenant.ndjson.gz"
    pgtally("tenant", "export", name, file)
    copy = name_of("copy")
    made = pgtally("tenant", "import", file, "--name", copy, "--json")
    # Run again, it finds them made.
    pgtally("tenant", "import", file, "--name", copy)

    def definitions(tenant):
        left_out = {"version", "state", "created_at", "filled_from", "filled_at"}
        return [
            {key: value for key, value in row.items() if key not in left_out}
            for row in pgtally("meter", "list", "--tenant", tenant, "--json")
            if row["state"] != "retired"
        ]

    assert definitions(made["tenant_id"]) == definitions(original)
    assert [row["name"] for row in definitions(original)] == ["all", "some"]
    pgtally("meter", "fill")
    told = """
      select part, group_values, period_on, event_count, value_sum, p50, unique_count
      from api.meter_summary_list(%s, 'all', 'day', '2024-02-01', '2024-04-01')
      """
    found = db.execute(told, (made["tenant_id"],)).fetchall()
    assert found == db.execute(told, (original,)).fetchall() != []
