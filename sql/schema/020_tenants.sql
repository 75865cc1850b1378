create function tally.rate_classes() returns text[]
language sql immutable parallel safe
as $$ select array['ingest', 'bulk', 'analytics', 'summaries', 'tenants', 'events', 'bytes'] $$;
comment on function tally.rate_classes() is
  'The classes in which requests count against rate limits, and the events and bytes that they bring; the service counts in the same, which a test compares.';
revoke all on function tally.rate_classes() from public;

create function tally.is_rate_limits(p_limits jsonb) returns boolean
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
revoke all on function tally.is_rate_limits(jsonb) from public;

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

create function tally.scopes() returns text[]
language sql immutable parallel safe
as $$ select array['ingest', 'read', 'admin'] $$;
comment on function tally.scopes() is
  'What a key may do: ingest stores events, read asks for figures, admin erases and manages keys.';
revoke all on function tally.scopes() from public;

create table tally.tenants (
  tenant_id uuid primary key default gen_random_uuid(),
  name text not null check (length(name) between 1 and 200),
  time_zone text not null default 'UTC' check (length(time_zone) between 1 and 64),
  week_start smallint not null default 1 check (week_start between 1 and 7),
  event_retention interval check (event_retention >= interval '1 day'),
  quarter_hour_retention interval,
  created_at timestamptz not null default now(),
  rate_limits_per_minute jsonb not null default '{}'
    constraint tenants_rate_limits_per_minute_check check (tally.is_rate_limits(rate_limits_per_minute)),
  deleted_at timestamptz,
  quotas jsonb not null default '{}'
    constraint tenants_quotas_check check (tally.is_quotas(quotas)),
  constraint tenants_quarter_hour_retention_check check (quarter_hour_retention >= event_retention)
);
comment on table tally.tenants is 'Tenants and their settings; what the jobs know of them is in tally.tenant_state.';
comment on column tally.tenants.name is 'A label for people; several tenants may have the same. The id tells them apart.';
comment on column tally.tenants.time_zone is 'IANA name; days, weeks and months are cut in this zone.';
comment on column tally.tenants.week_start is 'ISO weekday on which weeks start: 1 Monday to 7 Sunday.';
comment on column tally.tenants.event_retention is 'How long raw events are kept, at least a day; NULL keeps them for ever.';
comment on column tally.tenants.quarter_hour_retention is 'How long quarter-hour summaries are kept, no shorter than the events; NULL keeps them for ever. Days, weeks and months are kept for ever.';
comment on column tally.tenants.rate_limits_per_minute is
  'Overrides for all keys of the tenant together, for example {"ingest": 5000}; a key''s own go first.';
comment on column tally.tenants.quotas is 'Most that is stored, for example {"events": 1000000}: events beyond are refused, the oldest rejected events and receipts go.';
comment on column tally.tenants.deleted_at is 'When its deletion was asked for: from then on nobody reads or stores anything of it. The row itself goes last.';

alter table tally.tenants enable row level security;
create policy own_tenant on tally.tenants
  using (tenant_id = tally.current_tenant())
  with check (tenant_id = tally.current_tenant());
grant select on tally.tenants to tally_tenant;
grant select (
  tenant_id, name, time_zone, week_start, created_at, event_retention, quarter_hour_retention, deleted_at,
  quotas
) on tally.tenants to tally_bi;

create table tally.tenant_state (
  tenant_id uuid primary key references tally.tenants,
  events_kept_from timestamptz not null default '-infinity',
  quarter_hours_kept_from timestamptz not null default '-infinity',
  days_finalized_to timestamptz not null default '-infinity',
  weeks_finalized_to timestamptz not null default '-infinity',
  months_finalized_to timestamptz not null default '-infinity',
  meter_count integer not null default 0,
  told_to timestamptz not null default '-infinity',
  late_revision integer not null default 2,
  usage jsonb not null default '{}'
);
comment on table tally.tenant_state is
  'One row a tenant, and its lock: fold, finalize, rebuild, erasure and a change of calendar lock it for no key update (tally.tenant_lock), so that only one of them changes the tenant''s summaries at a time; ingest and readers never wait for it.';
comment on column tally.tenant_state.events_kept_from is 'Raw events are complete from here on; earlier ones were removed by retention.';
comment on column tally.tenant_state.quarter_hours_kept_from is 'Quarter-hour summaries are complete from here on.';
comment on column tally.tenant_state.days_finalized_to is 'Every day that ended by then has been finalized, days without events included.';
comment on column tally.tenant_state.weeks_finalized_to is 'The same for weeks.';
comment on column tally.tenant_state.months_finalized_to is 'The same for months.';
comment on column tally.tenant_state.meter_count is 'How many meters ingest has to count, so that it asks for none in vain.';
comment on column tally.tenant_state.told_to is 'Periods that ended by then may have been final under an earlier calendar.';
comment on column tally.tenant_state.late_revision is 'The revision with which a row starts whose period had been final without it: 2, and after a change of calendar more than any that was told before.';
comment on column tally.tenant_state.usage is 'What was stored when it was last measured (tally.usage_measure, each minute): only for tenants with quotas.';

alter table tally.tenant_state enable row level security;
create policy own_tenant on tally.tenant_state
  using (tenant_id = tally.current_tenant())
  with check (tenant_id = tally.current_tenant());
grant select on tally.tenant_state to tally_tenant, tally_bi;

create type tally.tenant_context as (
  tenant_id uuid,
  time_zone text,
  week_start smallint,
  event_retention interval,
  quarter_hour_retention interval,
  events_kept_from timestamptz,
  quarter_hours_kept_from timestamptz,
  days_finalized_to timestamptz,
  weeks_finalized_to timestamptz,
  months_finalized_to timestamptz,
  meter_count integer,
  told_to timestamptz,
  late_revision integer,
  event_quota bigint,
  stored_events bigint
);
comment on type tally.tenant_context is
  'What functions have to know of the tenant that they work for: from tally.tenants and tally.tenant_state.';

create table tally.api_keys (
  key_id uuid primary key default gen_random_uuid(),
  tenant_id uuid references tally.tenants,
  name text not null check (length(name) between 1 and 200),
  key_prefix text not null unique,
  key_hash bytea not null unique check (length(key_hash) = 32),
  scopes text[] not null check (scopes <@ tally.scopes() and cardinality(scopes) > 0),
  rate_limits_per_minute jsonb not null default '{}'
    constraint api_keys_rate_limits_per_minute_check check (tally.is_rate_limits(rate_limits_per_minute)),
  created_at timestamptz not null default now(),
  expires_at timestamptz,
  revoked_at timestamptz,
  last_used_at timestamptz,
  lineage_id uuid,
  origins text[] not null default '{}',
  constraint api_keys_without_tenant check (tenant_id is not null or scopes = array['admin']),
  constraint api_keys_origins check (origins = '{}' or scopes = array['ingest'])
);
comment on table tally.api_keys is
  'API keys. The key itself is shown once, when it is made, and never stored. Scope ingest stores events, read asks for figures, admin erases. A key without a tenant, always of scope admin, makes tenants.';
comment on column tally.api_keys.key_prefix is 'The public start of the key, by which people recognise it.';
comment on column tally.api_keys.last_used_at is 'To the minute; written by the service once a minute, not with each request.';
comment on column tally.api_keys.key_hash is 'sha-256 of the whole key, which holds 244 random bits.';
comment on column tally.api_keys.rate_limits_per_minute is
  'Overrides, for example {"ingest": 5000}: requests a minute by class (ingest, bulk, analytics, summaries, tenants), counted for this key and its lineage; 0 refuses all.';
comment on column tally.api_keys.lineage_id is
  'The first of the keys that share the buckets of their own limits: successors, and keys made by a key with limits. NULL for that first key itself.';
comment on column tally.api_keys.origins is
  'The pages that may use the key: https://example.com, as browsers name them. It is public then, has the scope ingest alone, and stores events in forms whose answers tell nothing. Empty: from anywhere, except that browsers are told to keep other pages off.';
create index api_keys_tenant_id on tally.api_keys (tenant_id);

alter table tally.api_keys enable row level security;
create policy own_tenant on tally.api_keys
  using (tenant_id = tally.current_tenant())
  with check (tenant_id = tally.current_tenant());
