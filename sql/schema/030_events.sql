create table tally.events (
  tenant_id uuid not null,
  occurred_at timestamptz not null,
  event_id uuid not null,
  received_at timestamptz not null default now(),
  value numeric,
  event_type text not null,
  actor_id text,
  session_id text,
  data jsonb not null default '{}',
  primary key (tenant_id, occurred_at, event_id),
  constraint events_occurred_at_bounds check (occurred_at >= '1980-01-01 00:00:00+00'),
  constraint events_value_bounds check (value > -1e30 and value < 1e30),
  constraint events_event_type_length check (length(event_type) between 1 and 200),
  constraint events_actor_id_length check (length(actor_id) between 1 and 200),
  constraint events_session_id_length check (length(session_id) between 1 and 200)
) partition by range (occurred_at);
comment on table tally.events is
  'Raw events, in weekly partitions. The primary key is the one index: it drops duplicates and serves range scans; each further index costs about a third of the ingest rate.';
comment on column tally.events.occurred_at is
  'When it happened, by the client''s clock. Not before 1980: since then every UTC offset in use is a multiple of 15 minutes, which is what makes quarter hours exact in every zone.';
comment on column tally.events.event_id is 'The client''s id, or a UUIDv7 made on arrival. The event is identified by tenant, id and occurred_at.';
comment on column tally.events.received_at is 'When the transaction that stored it began.';
comment on column tally.events.value is 'An optional number to sum and average: an amount, a duration, a size. NaN and infinities are refused.';
comment on column tally.events.actor_id is 'Who did it; counted by the measure uniqueActors.';
comment on column tally.events.data is 'Anything else, a JSON object. Filters on it read raw events.';

create table tally.events_default partition of tally.events default;
comment on table tally.events_default is
  'Takes events of weeks without a partition, so that nothing is ever lost; tally.maintain moves them to their own.';

create table tally.partition_changes (
  change_id bigint generated always as identity primary key,
  changed_at timestamptz not null default now(),
  partition_name text not null,
  event_count bigint not null
);
comment on table tally.partition_changes is
  'Each time that events moved from the default partition to one of their own, or that a partition was dropped. A reader whose snapshot is older may look for events in the wrong place; it compares tally.partition_version_seen with tally.partition_version and tries again.';
alter table tally.partition_changes enable row level security;

alter table tally.events enable row level security;
alter table tally.events_default enable row level security;
create policy own_tenant on tally.events
  using (tenant_id = tally.current_tenant())
  with check (tenant_id = tally.current_tenant());
grant select, insert, delete on tally.events to tally_tenant;
grant select on tally.events to tally_bi;

create function tally.actor_hash(p_actor text) returns bigint
language sql immutable parallel safe
as $$ select hashtextextended(p_actor, 0) $$;
comment on function tally.actor_hash(text) is
  'The 64 bits that stand for an actor in deltas and sketches. NULL for NULL.';
revoke all on function tally.actor_hash(text) from public;
grant execute on function tally.actor_hash(text) to tally_tenant;
