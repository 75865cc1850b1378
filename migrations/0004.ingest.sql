-- depends: 0003.tenant_deletion
-- Ingest: limits of events and bytes; receipts tell of conflicts: duplicates whose stored content
-- differs from what was sent.
set local lock_timeout = '5s';
set local statement_timeout = '10min';
set local role tally_owner;

alter table tally.receipts add column conflicts integer;
comment on column tally.receipts.conflicts is 'Duplicates whose stored content differs from what was sent; NULL for receipts of before this was told.';

-- Limits also of the events and bytes that requests bring.
create or replace function tally.rate_classes() returns text[]
language sql immutable parallel safe
as $$ select array['ingest', 'bulk', 'analytics', 'summaries', 'tenants', 'events', 'bytes'] $$;
comment on function tally.rate_classes() is
  'The classes in which requests count against rate limits, and the events and bytes that they bring; the service counts in the same, which a test compares.';

create or replace function tally.is_rate_limits(p_limits jsonb) returns boolean
language sql immutable parallel safe
as $$
  select case
    when jsonb_typeof(p_limits) = 'object' then
      p_limits - tally.rate_classes() = '{}'
      and not p_limits @? '$.* ? (@.type() != "number" || @ < 0 || @ > 1000000000000 || @.floor() != @)'
    else false
  end
$$;
comment on function tally.is_rate_limits(jsonb) is
  'Is this {"class": requests a minute}, with classes of tally.rate_classes() and whole numbers from 0 to 1,000,000,000,000?';

insert into tally.schema_migrations (migration_id) values ('0004.ingest');
