"""pgtally import and export: every form, bad lines, interruptions, and back again."""

import csv
import gzip
import json
import subprocess
import time
from datetime import UTC, datetime

import psycopg
import pytest
from pgtally.ingest.uuid7 import uuid7


@pytest.fixture
def tenant(pgtally):
    return pgtally("tenant", "create", f"transfer {time.monotonic_ns()}", "--json")["tenant_id"]


@pytest.fixture
def db(shared_dsn):
    with psycopg.connect(shared_dsn, autocommit=True) as connection:
        yield connection


def events(db, tenant):
    return db.execute(
        """
        select occurred_at, event_type, actor_id, session_id, value, data
        from tally.events where tenant_id = %s order by occurred_at, event_id
        """,
        (tenant,),
    ).fetchall()


def ndjson(*rows):
    return "".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows)


def test_ndjson_is_imported_once_however_often_and_bad_lines_are_told(
    pgtally, tenant, db, tmp_path
):
    file = tmp_path / "events.ndjson"
    good = [
        {"type": "a", "occurredAt": f"2024-05-01T10:00:{n:02}Z", "data": {"id": n}}
        for n in range(20)
    ]
    with_id = {"type": "b", "id": str(uuid7(datetime(2024, 5, 2, tzinfo=UTC)))}
    bad = [
        "{\n",
        {"type": ""},
        {"type": "no time"},
        {"type": "a", "occurredAt": "2999-01-01T00:00:00Z"},
    ]
    file.write_text(ndjson(*good, "\n", *bad, with_id, good[0]))
    for _ in range(2):
        error = pgtally("import", "--tenant", tenant, file, "--bad-lines", tmp_path / "bad", code=1)
        assert [line.split(":")[0] for line in error.splitlines() if line.startswith("line")] == [
            "line 22", "line 23", "line 24", "line 25",
        ]  # fmt: skip
        assert (tmp_path / "bad").read_text().splitlines() == ndjson(*bad).splitlines()
    assert len(events(db, tenant)) == 22
    (total,) = db.execute("select total from api.event_count(%s)", (tenant,)).fetchone()
    assert total == 22


def test_an_import_tells_in_json_what_it_did(pgtally, tenant, tmp_path):
    file = tmp_path / "events.ndjson.gz"
    rows = ndjson(*({"type": "a", "occurredAt": "2024-05-01T10:00:00Z"} for _ in range(7)))
    file.write_bytes(gzip.compress(rows.encode()))
    done = pgtally("import", "--tenant", tenant, "--json", file)
    assert done == {"accepted": 7, "duplicates": 0, "bad": 0, "line": 7}
    again = pgtally("import", "--tenant", tenant, "--json", "--from-line", 5, file)
    assert again == {"accepted": 0, "duplicates": 3, "bad": 0, "line": 7}


def test_csv_columns_become_fields_and_properties(pgtally, tenant, db, tmp_path):
    file = tmp_path / "flights.csv"
    with file.open("w", newline="") as text:
        writer = csv.writer(text)
        writer.writerow(["type", "occurredAt", "actorId", "value", "origin", "data.dest", "data"])
        writer.writerow(["departure", "2013-07-01 05:17:00", "N1", "-2.50", "EWR", "IAH", ""])
        writer.writerow(
            ["departure", "2013-07-01T05:17:00Z", "", "", 'a "quoted"\nline', "", '{"n": 1}']
        )
        writer.writerow(["departure", "2013-07-01T05:17:00Z", "", "many", "", "", ""])
        writer.writerow(["departure", "2013-07-01T05:17:00Z", "", "", "", "", "{"])
    error = pgtally("import", "--tenant", tenant, "--time-zone", "America/New_York", file, code=1)
    assert "line 5: /value" in error
    assert "line 6:" in error
    utc, new_york = sorted(events(db, tenant))
    assert new_york[0] == datetime(2013, 7, 1, 9, 17, tzinfo=UTC)
    assert (str(new_york[4]), new_york[2], new_york[5]) == (
        "-2.50",
        "N1",
        {"origin": "EWR", "dest": "IAH"},
    )
    assert utc[5] == {"origin": 'a "quoted"\nline', "n": 1}
    assert "unknown time zone" in pgtally(
        "import", "--tenant", tenant, "--time-zone", "Mars/X", file, code=2
    )


def test_segments_own_export_is_imported(pgtally_process, tenant, db):
    messages = [
        {"type": "track", "event": "Paid", "userId": "u1", "messageId": "m1", "timestamp": "2024-05-01T10:00:00Z",
         "originalTimestamp": "2024-05-01T09:59:59Z", "receivedAt": "2024-05-01T10:00:01Z", "properties": {"value": 3}},
        {"type": "identify", "userId": "u1", "timestamp": "2024-05-01T10:00:00Z", "traits": {"plan": "pro"}},
        {"type": "track", "userId": "u1"},
    ]  # fmt: skip
    for _ in range(2):
        error = pgtally_process(
            "import", "--tenant", tenant, "--format", "segment", stdin=ndjson(*messages), code=1
        )
        assert "line 3: event" in error
    first, second = events(db, tenant)
    assert (first[0], first[1], first[4]) == (
        datetime(2024, 5, 1, 9, 59, 59, tzinfo=UTC),
        "Paid",
        3,
    )
    assert (second[1], second[5]) == ("$identify", {"plan": "pro"})


def test_columns_of_numbers_are_compared_as_numbers(pgtally, service, db, tmp_path):
    client = service.tenant()
    tenant = client.tenant_id
    file = tmp_path / "flights.csv"
    rows = [
        ("900", "01234"),
        ("1500.5", "01234"),
        ("", "8"),
        ("2e3", "9"),
        ("1,5", "9"),
        ("007", "9"),
    ]
    file.write_text(
        "type,occurredAt,distance,zip\n"
        + "".join(f'flight,2024-05-01T10:00:0{n}Z,"{d}",{z}\n' for n, (d, z) in enumerate(rows))
    )
    asked = "/analytics/events/count?type=flight"
    error = pgtally("import", "--tenant", tenant, file, "--numbers", "distance, zap", code=1)
    assert "no column zap; properties are distance, zip" in error
    assert client.get(asked).json() == {"total": 0}
    error = pgtally("import", "--tenant", tenant, file, "--numbers", "distance", code=1)
    assert [line for line in error.splitlines() if line.startswith("line")] == [
        "line 6: csv: distance is no number: '1,5'", "line 7: csv: distance is no number: '007'",
    ]  # fmt: skip
    assert [row[5] for row in events(db, tenant)] == [
        {"distance": 900, "zip": "01234"}, {"distance": 1500.5, "zip": "01234"}, {"zip": "8"},
        {"distance": 2000, "zip": "9"},
    ]  # fmt: skip
    assert client.get(f"{asked}&data.distance=>1000").json() == {"total": 2}
    assert client.get(f"{asked}&data.zip=01234").json() == {"total": 2}
    lines = tmp_path / "events.ndjson"
    lines.write_text("{}")
    assert "is for CSV" in pgtally("import", "--tenant", tenant, lines, "--numbers", "a", code=2)


@pytest.mark.parametrize("name", ["events.ndjson", "events.csv", "events.csv.gz"])
def test_what_is_exported_can_be_imported_again(
    pgtally, pgtally_process, tenant, db, tmp_path, name
):
    rows = [
        {"type": 'a,"b"\n', "occurredAt": f"2024-05-01T10:00:00.{n:06}Z", "value": 12345678901234567890 + n,
         "actorId": "ü", "data": {"n": [1, {"x": None}]}}
        for n in range(12)
    ]  # fmt: skip
    pgtally_process("import", "--tenant", tenant, stdin=ndjson(*rows))
    file = tmp_path / name
    pgtally("export", "--tenant", tenant, file)
    other = pgtally("tenant", "create", f"copy {time.monotonic_ns()}", "--json")["tenant_id"]
    assert pgtally("import", "--tenant", other, "--json", file)["accepted"] == 12
    assert events(db, other) == events(db, tenant)
    some = pgtally("export", "--tenant", tenant, "--from", "2024-05-01T10:00:00.000005Z")
    assert len(some.splitlines()) == 7
    assert "no time" in pgtally("export", "--tenant", tenant, "--from", "tomorrow", code=1)


def test_an_import_survives_a_lost_connection(pgtally, tenant, db, shared_dsn, tmp_path):
    file = tmp_path / "events.ndjson"
    file.write_text(ndjson(*(
        {"type": "a", "occurredAt": f"2024-05-{1 + n % 28:02}T10:00:00Z"} for n in range(60_000)
    )))  # fmt: skip
    kill = """
      select count(pg_terminate_backend(pid)) from pg_stat_activity
      where application_name = 'pgtally import' and datname = current_database()
    """
    process = subprocess.Popen(
        [".venv/bin/pgtally", "import", "--dsn", shared_dsn, "--tenant", tenant, "--json", str(file)],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    killed = 0
    while process.poll() is None and killed < 3:
        killed += db.execute(kill).fetchone()[0]
        time.sleep(0.2)
    output, _ = process.communicate(timeout=60)
    assert killed > 0
    done = json.loads(output)
    assert (done["accepted"] + done["duplicates"], done["bad"]) == (60_000, 0)
    assert len(events(db, tenant)) == 60_000


def test_completion_and_configuration_are_printed(pgtally, tmp_path):
    assert "_PGTALLY_COMPLETE" in pgtally("completion", "bash")
    file = tmp_path / "pgtally.toml"
    file.write_text(
        'dsn = "host=db user=x password=geheim"\npool_size = 3\ncors_origins = ["https://a.b"]\n'
    )
    variables = {"PGTALLY_CONFIG": str(file), "PGTALLY_PORT": "9000"}
    found = {row["name"]: row for row in pgtally("config", "--json", **variables)}
    assert (found["pool_size"]["value"], found["pool_size"]["source"]) == (3, str(file))
    assert (found["port"]["value"], found["port"]["source"]) == (9000, "PGTALLY_PORT")
    assert found["host"]["source"] == "default"
    assert "geheim" not in json.dumps(found)
    file.write_text('dsn = "host=db"\npool_size = 0\nnonsense = 1\n')
    error = pgtally("config", code=1, **variables)
    assert "pool_size = 0: Expected `int` >= 1" in error
    assert "no setting 'nonsense'" in error
