-- depends: 0008.reads
-- Changes of calendar keep revisions: what they have to remember of the calendars before.
-- Storage quotas of tenants.
set local lock_timeout = '5s';
set local statement_timeout = '60s';
set local role tally_owner;

alter table tally.tenant_state
  add column told_to timestamptz not null default '-infinity',
  add column late_revision integer not null default 2,
  add column usage jsonb not null default '{}';
comment on column tally.tenant_state.told_to is 'Periods that ended by then may have been final under an earlier calendar.';
comment on column tally.tenant_state.late_revision is 'The revision with which a row starts whose period had been final without it: 2, and after a change of calendar more than any that was told before.';
comment on column tally.tenant_state.usage is 'What was stored when it was last measured (tally.usage_measure, each minute): only for tenants with quotas.';

create function tally.quota_names() returns text[]
language sql immutable parallel safe
as $$ select array['events', 'rejected', 'rejectedBytes', 'receipts'] $$;
comment on function tally.quota_names() is
  'What a tenant may have a storage quota of: raw events, rejected events and the bytes of these, receipts of requests with an Idempotency-Key.';
revoke all on function tally.quota_names() from public;

create function tally.is_quotas(p_quotas jsonb) returns boolean
language sql immutable parallel safe
as $$
  select case
    when jsonb_typeof(p_quotas) = 'object' then
      p_quotas - tally.quota_names() = '{}'
      and not p_quotas @? '$.* ? (@.type() != "number" || @ < 0 || @ > 1000000000000000 || @.floor() != @)'
    else false
  end
$$;
comment on function tally.is_quotas(jsonb) is
  'Is this {"quota": number}, with names of tally.quota_names() and whole numbers from 0 to 1,000,000,000,000,000?';
revoke all on function tally.is_quotas(jsonb) from public;

alter table tally.tenants
  add column quotas jsonb not null default '{}'
    constraint tenants_quotas_check check (tally.is_quotas(quotas));
comment on column tally.tenants.quotas is 'Most that is stored, for example {"events": 1000000}: events beyond are refused, the oldest rejected events and receipts go.';
grant select (quotas) on tally.tenants to tally_bi;

alter type tally.tenant_context
  add attribute told_to timestamptz,
  add attribute late_revision integer,
  add attribute event_quota bigint,
  add attribute stored_events bigint;

comment on table tally.summaries is
  'Totals of each period and event type. Together with the deltas not yet folded they equal the raw events at every moment. A row that was final and has lost all its events, or its period, stays, with 0, so that its change can be told.';
comment on column tally.summaries.revision is 'Starts at 1 and goes up each time that a final figure changes, also from or to nothing.';
comment on column tally.summaries.updated_at is 'When the figures last changed or, if they had been corrected, became final again, by the clock while the tenant was locked: in commit order for each tenant.';
comment on column tally.summaries.final_at is 'When the row was last checked against the raw events after its period had ended; NULL while it is open, and again after a late event. Of a row whose period a change of calendar has done away with, the moment of that change.';

insert into tally.schema_migrations (migration_id) values ('0009.calendar');
