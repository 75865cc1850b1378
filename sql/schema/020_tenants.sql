create function tally.is_rate_limits(p_limits jsonb) returns boolean
language sql immutable parallel safe
as $$
  select case
    when jsonb_typeof(p_limits) = 'object' then
      p_limits - array['ingest', 'bulk', 'analytics', 'summaries', 'tenants'] = '{}'
      and not p_limits @? '$.* ? (@.type() != "number" || @ < 0 || @ > 100000000 || @.floor() != @)'
    else false
  end
$$;
comment on function tally.is_rate_limits(jsonb) is
  'Is this {"class": requests a minute}, with the classes ingest, bulk, analytics, summaries, tenants and whole numbers from 0 to 100,000,000?';

create table tally.tenants (
  tenant_id uuid primary key default gen_random_uuid(),
  name text not null unique check (length(name) between 1 and 200),
  time_zone text not null default 'UTC' check (length(time_zone) between 1 and 64),
  week_start smallint not null default 1 check (week_start between 1 and 7),
  event_retention interval check (event_retention >= interval '1 day'),
  quarter_hour_retention interval check (quarter_hour_retention >= event_retention),
  events_kept_from timestamptz not null default '-infinity',
  quarter_hours_kept_from timestamptz not null default '-infinity',
  days_finalized_to timestamptz not null default '-infinity',
  weeks_finalized_to timestamptz not null default '-infinity',
  months_finalized_to timestamptz not null default '-infinity',
  created_at timestamptz not null default now(),
  rate_limits_per_minute jsonb not null default '{}'
    constraint tenants_rate_limits_per_minute_check check (tally.is_rate_limits(rate_limits_per_minute))
);
comment on table tally.tenants is
  'One row a tenant. fold, finalize, rebuild and a change of zone lock the tenant''s row for no key update, so that only one of them changes its summaries at a time; ingest and readers never wait for it.';
comment on column tally.tenants.time_zone is 'IANA name; days, weeks and months are cut in this zone.';
comment on column tally.tenants.week_start is 'ISO weekday on which weeks start: 1 Monday to 7 Sunday.';
comment on column tally.tenants.event_retention is 'How long raw events are kept, at least a day; NULL keeps them for ever.';
comment on column tally.tenants.quarter_hour_retention is 'How long quarter-hour summaries are kept, no shorter than the events; NULL keeps them for ever. Days, weeks and months are kept for ever.';
comment on column tally.tenants.events_kept_from is 'Raw events are complete from here on; earlier ones were removed by retention.';
comment on column tally.tenants.quarter_hours_kept_from is 'Quarter-hour summaries are complete from here on.';
comment on column tally.tenants.days_finalized_to is 'Every day that ended by then has been finalized, days without events included.';
comment on column tally.tenants.weeks_finalized_to is 'The same for weeks.';
comment on column tally.tenants.months_finalized_to is 'The same for months.';
comment on column tally.tenants.rate_limits_per_minute is
  'Overrides for all keys of the tenant together, for example {"ingest": 5000}; a key''s own go first.';

alter table tally.tenants enable row level security;
create policy own_tenant on tally.tenants
  using (tenant_id = tally.current_tenant())
  with check (tenant_id = tally.current_tenant());
grant select on tally.tenants to tally_tenant;
grant select (tenant_id, name, time_zone, week_start, created_at) on tally.tenants to tally_bi;

create table tally.api_keys (
  key_id uuid primary key default gen_random_uuid(),
  tenant_id uuid references tally.tenants,
  name text not null check (length(name) between 1 and 200),
  key_prefix text not null unique,
  key_hash bytea not null unique check (length(key_hash) = 32),
  scopes text[] not null check (scopes <@ array['ingest', 'read', 'admin'] and cardinality(scopes) > 0),
  rate_limits_per_minute jsonb not null default '{}'
    constraint api_keys_rate_limits_per_minute_check check (tally.is_rate_limits(rate_limits_per_minute)),
  created_at timestamptz not null default now(),
  expires_at timestamptz,
  revoked_at timestamptz,
  last_used_at timestamptz,
  constraint api_keys_without_tenant check (tenant_id is not null or scopes = array['admin'])
);
comment on table tally.api_keys is
  'API keys. The key itself is shown once, when it is made, and never stored. Scope ingest stores events, read asks for figures, admin erases. A key without a tenant, always of scope admin, makes tenants.';
comment on column tally.api_keys.key_prefix is 'The public start of the key, by which people recognise it.';
comment on column tally.api_keys.last_used_at is 'To the minute; written by the service once a minute, not with each request.';
comment on column tally.api_keys.key_hash is 'sha-256 of the whole key, which holds 244 random bits.';
comment on column tally.api_keys.rate_limits_per_minute is
  'Overrides, for example {"ingest": 5000}: requests a minute by class (ingest, bulk, analytics, summaries, tenants), counted for this key alone; 0 refuses all.';
create index api_keys_tenant_id on tally.api_keys (tenant_id);

alter table tally.api_keys enable row level security;
create policy own_tenant on tally.api_keys
  using (tenant_id = tally.current_tenant())
  with check (tenant_id = tally.current_tenant());
