"""What is put into arrays in a thread is what psycopg sends otherwise."""

from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

from pgtally.formats import keep
from pgtally.ingest.dumped import dump
from psycopg.types.json import Jsonb

COLUMNS = {
    "a": [datetime(2026, 1, 31, 12, tzinfo=UTC), datetime(1980, 1, 1, tzinfo=UTC)],
    "b": [UUID(int=1), UUID(int=2**127)],
    "c": ["é", 'a"b\\,{}'],
    "d": [Decimal("-1.50"), None],
    "e": [None, None],
    "f": [Jsonb(b'{"k": 1.0}', dumps=keep), Jsonb(b"{}", dumps=keep)],
}
CAST = """
  select %(a)b::timestamptz[], %(b)b::uuid[], %(c)b::text[], %(d)b::numeric[], %(e)b::text[],
    %(f)b::jsonb[]
"""


def test_dumped_arguments_arrive_as_they_were(db):
    plain = db.execute(CAST, COLUMNS, binary=True).fetchall()
    assert db.execute(CAST, dump(COLUMNS), binary=True).fetchall() == plain
    assert plain[0][:5] == tuple(COLUMNS[name] for name in "abcde")


def test_a_large_batch_is_stored_whole(service):
    client = service.tenant()
    events = [{"type": "a", "value": n, "data": {"n": n}, "actorId": f"é{n}"} for n in range(3000)]
    assert client.post("/events/bulk", json=events).json()["accepted"] == 3000
    total = client.get("/analytics/events/count?measure=sum").json()["total"]
    assert total == sum(range(3000))
    actors = client.get("/analytics/events/count?measure=uniqueActors&data.n=2999").json()
    assert actors == {"total": 1}
