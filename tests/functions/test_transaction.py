"""What a call sets for itself is gone when its transaction ends: the next one on the same
connection, which serves another tenant, begins as the first did."""

from datetime import UTC, datetime
from uuid import UUID

import psycopg

from tests import calls
from tests.brute_force import Event, ingest

AT = datetime(2024, 1, 1, tzinfo=UTC)
# Those of our own making are not in pg_settings.
SETTINGS = """
  select name, setting from pg_settings
  union all
  select 'tally.tenant_id', coalesce(current_setting('tally.tenant_id', true), '')
"""
CALLS = (
    "select * from api.event_count(%s) where ("
    " select set_config('application_name', 'pgtally request id', true)) is not null",
    "select * from api.event_timeline(%s, 'day', p_types => '{a}')",
    "select * from api.event_list(%s)",
    'select * from api.events_ingest_json(%s, \'[{"type": "a"}]\')',
    "select * from api.key_create(%s)",
    "select * from api.actor_erase(%s, 'ann')",
    "select * from api.rate_take(%s::uuid::text, 60, 1)",
)


def test_what_a_call_sets_ends_with_its_transaction(db, service_dsn, new_tenant):
    tenant = new_tenant()
    ingest(db, tenant, [Event(AT, UUID(int=1), "a", 1, "ann")])
    with psycopg.connect(service_dsn, autocommit=True) as service:
        # The first call loads the extensions, which bring settings of their own.
        calls.one(service, "select * from api.event_count(%s, p_measure => 'uniqueActors')", tenant)
        before = dict(calls.rows(service, SETTINGS))
        assert before["tally.tenant_id"] == ""
        assert before["application_name"] == ""
        for call in CALLS:
            assert calls.rows(service, call, tenant)
            assert dict(calls.rows(service, SETTINGS)) == before, call
        with service.transaction():
            calls.one(service, CALLS[0], tenant)
            during = dict(calls.rows(service, SETTINGS))
        assert during["tally.tenant_id"] == str(tenant)
        assert dict(calls.rows(service, SETTINGS)) == before
