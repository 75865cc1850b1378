-- The first release: sql/schema as it was then.
-- pgtally: exact, live, multi-tenant event analytics.
--
-- An event arrives through api.events_ingest, which inserts it into tally.events and, in the
-- same transaction, appends what it really inserted, grouped by quarter hour and type, to
-- tally.summary_deltas. Every minute tally.fold moves the deltas into tally.summaries
-- (quarter hours, days, weeks, months). Readers add both, so every snapshot sees
-- summaries + deltas = events. tally.finalize checks ended periods against the raw events and
-- marks them final. A range is answered from the coarsest rows that fit it (tally.range_parts).
--
-- Four roles, none of them a superuser, none with BYPASSRLS:
--   tally_owner    owns tables and maintenance; as their owner it sees all tenants
--   tally_tenant   owns the api functions that act for one tenant; subject to row security
--   tally_service  the login of the HTTP service: may execute api functions, nothing else
--   tally_jobs     the login that pg_cron runs the jobs as; a member of tally_owner
-- and tally_bi, the group of the BI logins, each of which sees the views of one tenant.
do $$
declare
  v_role record;
begin
  -- Roles are shared by all databases of a cluster, so another installation may have made them.
  for v_role in
    select *
    from (values
      ('tally_owner', 'nologin'),
      ('tally_tenant', 'nologin'),
      ('tally_bi', 'nologin'),
      ('tally_service', 'login'),
      ('tally_jobs', 'login')
    ) as roles (name, attributes)
    where not exists (select from pg_catalog.pg_roles where rolname = roles.name)
  loop
    begin
      execute format('create role %I %s', v_role.name, v_role.attributes);
    exception when duplicate_object or unique_violation then
      null;
    end;
  end loop;
  -- Who may not grant it may still find it granted by an administrator.
  if not pg_catalog.pg_has_role('tally_jobs', 'tally_owner', 'usage') then
    grant tally_owner to tally_jobs;
  end if;
end
$$;

create extension if not exists hll with schema public;

create schema tally authorization tally_owner;
create schema api authorization tally_owner;
comment on schema tally is 'pgtally: tables and maintenance.';
comment on schema api is 'pgtally: the functions that clients execute.';

-- A new function is executable by nobody until its own file grants it.
alter default privileges for role tally_owner revoke execute on functions from public;
alter default privileges for role tally_tenant revoke execute on functions from public;

create schema bi authorization tally_owner;
comment on schema bi is 'pgtally: the views that BI tools read; each login sees one tenant.';

grant usage on schema tally to tally_tenant, tally_bi;
grant usage on schema bi to tally_tenant, tally_bi;
grant usage on schema api to tally_service, tally_tenant, tally_jobs;

set local role tally_owner;

create function tally.current_tenant() returns uuid
language sql stable parallel safe
as $$
  select case
    when current_user = 'tally_tenant' then nullif(current_setting('tally.tenant_id', true), '')::uuid
    when session_user::text ~ '^bi_[0-9a-f]{32}_' then substr(session_user::text, 4, 32)::uuid
  end
$$;
comment on function tally.current_tenant() is
  'The tenant that row security shows: inside an api function the setting tally.tenant_id, which it makes for the transaction; for a BI login the tenant in its name, whatever it sets. NULL, and so no row, for everyone else.';
grant execute on function tally.current_tenant() to tally_tenant, tally_bi;
-- Time. A local day begins at the first instant at which the zone's clock reads midnight or later,
-- and lasts until the next day begins: total, without gaps or overlaps, whatever the clock does
-- (midnight skipped in Sao Paulo, passed twice in Havana, a date left out in Samoa). Weeks and
-- months are runs of such days; an hour is an hour counted from the day's beginning. Every
-- boundary falls on a quarter hour of UTC, because since 1980 every UTC offset in use is a
-- multiple of 15 minutes.
--
-- All in PL/pgSQL, which keeps its plans: a strict SQL function is planned anew at each call unless
-- it can be inlined.

create function tally.day_start(p_on date, p_zone text) returns timestamptz
language plpgsql immutable strict parallel safe
as $$
declare
  v_midnight timestamp := p_on;
  -- Where the clock is set back over midnight, this is the later of two midnights.
  v_late timestamptz := v_midnight at time zone p_zone;
  v_before timestamptz := v_late - interval '6 hours';
  v_early timestamptz := v_before + (v_midnight - (v_before at time zone p_zone));
begin
  if v_early < v_late and v_early at time zone p_zone = v_midnight then
    return v_early;
  end if;
  return v_late;
end
$$;
comment on function tally.day_start(date, text) is
  'The first instant at which the clock of the zone reads midnight of that date, or later.';

create function tally.local_date(p_at timestamptz, p_zone text) returns date
language plpgsql immutable strict parallel safe
as $$
declare
  v_on date := (p_at at time zone p_zone)::date;
begin
  -- Set back from just after midnight, the clock shows yesterday's date again: the new day has begun.
  if tally.day_start(v_on + 1, p_zone) <= p_at then
    return v_on + 1;
  end if;
  return v_on;
end
$$;
comment on function tally.local_date(timestamptz, text) is 'The local day that holds the instant.';

create function tally.first_date(p_on date, p_unit text, p_week_start integer) returns date
language plpgsql immutable strict parallel safe
as $$
begin
  return case p_unit
    when 'week' then p_on - (extract(isodow from p_on)::integer - p_week_start + 7) % 7
    when 'month' then p_on - extract(day from p_on)::integer + 1
    else p_on
  end;
end
$$;
comment on function tally.first_date(date, text, integer) is
  'The first date of the day, week or month that holds the date.';

create function tally.next_date(p_first date, p_unit text) returns date
language plpgsql immutable strict parallel safe
as $$
begin
  return case p_unit
    when 'week' then p_first + 7
    when 'month' then (p_first + interval '1 month')::date
    else p_first + 1
  end;
end
$$;
comment on function tally.next_date(date, text) is
  'The first date of the following day, week or month.';

create function tally.period_start(p_at timestamptz, p_unit text, p_zone text, p_week_start integer)
returns timestamptz
language plpgsql immutable strict parallel safe
as $$
declare
  v_on date;
begin
  if not isfinite(p_at) then
    return p_at;
  elsif p_unit = 'quarter_hour' then
    return date_bin('15 minutes', p_at, timestamptz 'epoch');
  end if;
  v_on := tally.local_date(p_at, p_zone);
  if p_unit = 'hour' then
    return date_bin('1 hour', p_at, tally.day_start(v_on, p_zone));
  end if;
  return tally.day_start(tally.first_date(v_on, p_unit, p_week_start), p_zone);
end
$$;
comment on function tally.period_start(timestamptz, text, text, integer) is
  'The first instant of the quarter_hour, hour, day, week or month that holds the instant.';

create function tally.period_end(p_at timestamptz, p_unit text, p_zone text, p_week_start integer)
returns timestamptz
language plpgsql immutable strict parallel safe
as $$
declare
  v_on date;
begin
  if not isfinite(p_at) then
    return p_at;
  elsif p_unit = 'quarter_hour' then
    return date_bin('15 minutes', p_at, timestamptz 'epoch') + interval '15 minutes';
  end if;
  v_on := tally.local_date(p_at, p_zone);
  if p_unit = 'hour' then
    return least(
      tally.period_start(p_at, 'hour', p_zone, p_week_start) + interval '1 hour',
      tally.day_start(v_on + 1, p_zone));
  end if;
  return tally.day_start(
    tally.next_date(tally.first_date(v_on, p_unit, p_week_start), p_unit), p_zone);
end
$$;
comment on function tally.period_end(timestamptz, text, text, integer) is
  'The first instant after the quarter_hour, hour, day, week or month that holds the instant.';

create function tally.period_ceiling(p_at timestamptz, p_unit text, p_zone text, p_week_start integer)
returns timestamptz
language plpgsql immutable strict parallel safe
as $$
begin
  if tally.period_start(p_at, p_unit, p_zone, p_week_start) = p_at then
    return p_at;
  end if;
  return tally.period_end(p_at, p_unit, p_zone, p_week_start);
end
$$;
comment on function tally.period_ceiling(timestamptz, text, text, integer) is
  'The first start of a period at or after the instant.';

create function tally.period_type_name(p_period_type "char") returns text
language sql immutable strict parallel safe
as $$
  select case p_period_type
    when 'q' then 'quarter_hour'
    when 'd' then 'day'
    when 'w' then 'week'
    when 'm' then 'month'
  end
$$;
comment on function tally.period_type_name("char") is
  'The word for the letter that a summary is stored with: quarter_hour, day, week or month. The other way round it is a cast: ''day''::"char".';

revoke all on function
  tally.period_type_name("char"),
  tally.day_start(date, text),
  tally.local_date(timestamptz, text),
  tally.first_date(date, text, integer),
  tally.next_date(date, text),
  tally.period_start(timestamptz, text, text, integer),
  tally.period_end(timestamptz, text, text, integer),
  tally.period_ceiling(timestamptz, text, text, integer)
from public;
grant execute on function tally.period_type_name("char") to tally_tenant;
grant execute on function
  tally.day_start(date, text),
  tally.local_date(timestamptz, text),
  tally.first_date(date, text, integer),
  tally.next_date(date, text),
  tally.period_start(timestamptz, text, text, integer),
  tally.period_end(timestamptz, text, text, integer),
  tally.period_ceiling(timestamptz, text, text, integer)
to tally_tenant, tally_bi;
create function tally.rate_classes() returns text[]
language sql immutable parallel safe
as $$ select array['ingest', 'bulk', 'analytics', 'summaries', 'tenants'] $$;
comment on function tally.rate_classes() is
  'The classes in which requests count against rate limits; the service counts in the same, which a test compares.';
revoke all on function tally.rate_classes() from public;

create function tally.is_rate_limits(p_limits jsonb) returns boolean
language sql immutable parallel safe
as $$
  select case
    when jsonb_typeof(p_limits) = 'object' then
      p_limits - tally.rate_classes() = '{}'
      and not p_limits @? '$.* ? (@.type() != "number" || @ < 0 || @ > 100000000 || @.floor() != @)'
    else false
  end
$$;
comment on function tally.is_rate_limits(jsonb) is
  'Is this {"class": requests a minute}, with classes of tally.rate_classes() and whole numbers from 0 to 100,000,000?';
revoke all on function tally.is_rate_limits(jsonb) from public;

create function tally.scopes() returns text[]
language sql immutable parallel safe
as $$ select array['ingest', 'read', 'admin'] $$;
comment on function tally.scopes() is
  'What a key may do: ingest stores events, read asks for figures, admin erases and manages keys.';
revoke all on function tally.scopes() from public;

create table tally.tenants (
  tenant_id uuid primary key default gen_random_uuid(),
  name text not null unique check (length(name) between 1 and 200),
  time_zone text not null default 'UTC' check (length(time_zone) between 1 and 64),
  week_start smallint not null default 1 check (week_start between 1 and 7),
  event_retention interval check (event_retention >= interval '1 day'),
  quarter_hour_retention interval,
  created_at timestamptz not null default now(),
  rate_limits_per_minute jsonb not null default '{}'
    constraint tenants_rate_limits_per_minute_check check (tally.is_rate_limits(rate_limits_per_minute)),
  constraint tenants_quarter_hour_retention_check check (quarter_hour_retention >= event_retention)
);
comment on table tally.tenants is 'Tenants and their settings; what the jobs know of them is in tally.tenant_state.';
comment on column tally.tenants.time_zone is 'IANA name; days, weeks and months are cut in this zone.';
comment on column tally.tenants.week_start is 'ISO weekday on which weeks start: 1 Monday to 7 Sunday.';
comment on column tally.tenants.event_retention is 'How long raw events are kept, at least a day; NULL keeps them for ever.';
comment on column tally.tenants.quarter_hour_retention is 'How long quarter-hour summaries are kept, no shorter than the events; NULL keeps them for ever. Days, weeks and months are kept for ever.';
comment on column tally.tenants.rate_limits_per_minute is
  'Overrides for all keys of the tenant together, for example {"ingest": 5000}; a key''s own go first.';

alter table tally.tenants enable row level security;
create policy own_tenant on tally.tenants
  using (tenant_id = tally.current_tenant())
  with check (tenant_id = tally.current_tenant());
grant select on tally.tenants to tally_tenant;
grant select (tenant_id, name, time_zone, week_start, created_at) on tally.tenants to tally_bi;

create table tally.tenant_state (
  tenant_id uuid primary key references tally.tenants,
  events_kept_from timestamptz not null default '-infinity',
  quarter_hours_kept_from timestamptz not null default '-infinity',
  days_finalized_to timestamptz not null default '-infinity',
  weeks_finalized_to timestamptz not null default '-infinity',
  months_finalized_to timestamptz not null default '-infinity'
);
comment on table tally.tenant_state is
  'One row a tenant, and its lock: fold, finalize, rebuild, erasure and a change of calendar lock it for no key update (tally.tenant_lock), so that only one of them changes the tenant''s summaries at a time; ingest and readers never wait for it.';
comment on column tally.tenant_state.events_kept_from is 'Raw events are complete from here on; earlier ones were removed by retention.';
comment on column tally.tenant_state.quarter_hours_kept_from is 'Quarter-hour summaries are complete from here on.';
comment on column tally.tenant_state.days_finalized_to is 'Every day that ended by then has been finalized, days without events included.';
comment on column tally.tenant_state.weeks_finalized_to is 'The same for weeks.';
comment on column tally.tenant_state.months_finalized_to is 'The same for months.';

alter table tally.tenant_state enable row level security;
create policy own_tenant on tally.tenant_state
  using (tenant_id = tally.current_tenant())
  with check (tenant_id = tally.current_tenant());
grant select on tally.tenant_state to tally_tenant;

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
  months_finalized_to timestamptz
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

create function tally.actor_hash(p_actor text) returns bigint
language sql immutable parallel safe
as $$ select hashtextextended(p_actor, 0) $$;
comment on function tally.actor_hash(text) is
  'The 64 bits that stand for an actor in deltas and sketches. NULL for NULL.';
revoke all on function tally.actor_hash(text) from public;
grant execute on function tally.actor_hash(text) to tally_tenant;
create table tally.rejected_events (
  tenant_id uuid not null,
  rejected_id bigint generated always as identity,
  event_hash bytea not null,
  rejected_at timestamptz not null default now(),
  source text not null check (source in ('bulk', 'segment')),
  errors jsonb not null,
  event text not null,
  replayable boolean not null,
  primary key (tenant_id, rejected_id),
  unique (tenant_id, event_hash)
);
comment on table tally.rejected_events is
  'Events that lenient requests and Segment clients sent and that could not be stored, kept for 30 days so that nothing is lost: to be looked at and replayed.';
comment on column tally.rejected_events.event_hash is 'sha-256 of event: one that is sent again is kept once.';
comment on column tally.rejected_events.source is 'bulk: in the form of POST /events; segment: from a Segment client.';
comment on column tally.rejected_events.errors is 'What was wrong: [{"pointer", "detail"}].';
comment on column tally.rejected_events.event is 'The event as it came, as text, since it may not even be JSON.';
comment on column tally.rejected_events.replayable is 'Is it in the form of POST /events, so that api.rejected_replay can try it again?';

alter table tally.rejected_events enable row level security;
create policy own_tenant on tally.rejected_events
  using (tenant_id = tally.current_tenant())
  with check (tenant_id = tally.current_tenant());
grant select, insert, update, delete on tally.rejected_events to tally_tenant;

create table tally.receipts (
  tenant_id uuid not null,
  idempotency_key text not null check (length(idempotency_key) between 1 and 200),
  fingerprint bytea not null,
  created_at timestamptz not null default now(),
  accepted integer,
  duplicates integer,
  response jsonb not null,
  primary key (tenant_id, idempotency_key)
);
comment on table tally.receipts is
  'What became of requests that carried an Idempotency-Key, written in the transaction that stored their events and kept for 7 days.';
comment on column tally.receipts.fingerprint is 'sha-256 of the request: the same key with another request is refused.';
comment on column tally.receipts.response is 'The rest of the answer, so that a repeated request gets the first one''s.';

alter table tally.receipts enable row level security;
create policy own_tenant on tally.receipts
  using (tenant_id = tally.current_tenant())
  with check (tenant_id = tally.current_tenant());
grant select, insert, update on tally.receipts to tally_tenant;
create table tally.summary_deltas (
  tenant_id uuid not null,
  delta_id bigint generated always as identity,
  quarter_hour timestamptz not null,
  event_type text not null,
  event_count bigint not null,
  value_count bigint not null,
  value_sum numeric,
  value_min numeric,
  value_max numeric,
  actor_hashes bytea,
  primary key (tenant_id, delta_id)
) with (
  -- A queue: every row is deleted within a minute or so.
  autovacuum_vacuum_scale_factor = 0,
  autovacuum_vacuum_threshold = 5000,
  autovacuum_analyze_scale_factor = 0,
  autovacuum_analyze_threshold = 5000
);
comment on table tally.summary_deltas is
  'What ingest inserted and fold has not yet added to the summaries: append-only, one row for each quarter hour and event type of a batch.';
comment on column tally.summary_deltas.actor_hashes is 'The actors of the batch, 8 bytes each (tally.actor_hash).';

alter table tally.summary_deltas enable row level security;
create policy own_tenant on tally.summary_deltas
  using (tenant_id = tally.current_tenant())
  with check (tenant_id = tally.current_tenant());
grant select, insert on tally.summary_deltas to tally_tenant;
grant select on tally.summary_deltas to tally_bi;

create table tally.summaries (
  tenant_id uuid not null,
  period_type "char" not null
    constraint summaries_period_type_check check (period_type in ('q', 'd', 'w', 'm')),
  kind "char" not null constraint summaries_kind_check check (kind in ('e', 'a')),
  period_start timestamptz not null,
  event_type text not null,
  event_count bigint not null,
  value_count bigint not null,
  value_sum numeric,
  value_min numeric,
  value_max numeric,
  actors public.hll,
  revision integer not null default 1,
  updated_at timestamptz not null default now(),
  final_at timestamptz,
  primary key (tenant_id, period_type, kind, period_start, event_type)
) with (fillfactor = 80);
comment on table tally.summaries is
  'Totals of each period and event type. Together with the deltas not yet folded they equal the raw events at every moment. A row that was final and has lost all its events stays, with 0, so that its change can be told.';
comment on column tally.summaries.period_type is 'What the row covers: q quarter_hour, d day, w week, m month (tally.period_type_name). Quarter hours are cut in UTC; days, weeks and months in the tenant''s time zone. A "char" is one byte and, unlike an enum, its operators are leakproof: under row security an index serves it.';
comment on column tally.summaries.period_start is 'The first instant of the period; for days, weeks and months in the tenant''s time zone.';
comment on column tally.summaries.kind is 'e: of one event type. a: of all event types together, for days, weeks and months, so that a question about all of them reads a row a period.';
comment on column tally.summaries.event_type is 'The event type; empty for kind a.';
comment on column tally.summaries.value_count is 'How many of the events had a value.';
comment on column tally.summaries.actors is 'hll sketch of the distinct actors (log2m 14: exact up to 1,280 actors, standard error 0.8 % above).';
comment on column tally.summaries.revision is 'Starts at 1 and goes up each time that a final row changes.';
comment on column tally.summaries.updated_at is 'When the figures last changed, by the clock while the tenant was locked: in commit order for each tenant.';
comment on column tally.summaries.final_at is 'When the row was last checked against the raw events after its period had ended; NULL while it is open, and again after a late event.';
create index summaries_open on tally.summaries (tenant_id, period_type, period_start)
  where final_at is null and period_type <> 'q';
create index summaries_revised on tally.summaries (tenant_id, updated_at) where revision > 1;

alter table tally.summaries enable row level security;
create policy own_tenant on tally.summaries
  using (tenant_id = tally.current_tenant())
  with check (tenant_id = tally.current_tenant());
grant select on tally.summaries to tally_tenant;
grant select on tally.summaries to tally_bi;

create function tally.hashes_hll(p_hashes bytea) returns public.hll
language sql immutable parallel safe
as $$
  select public.hll_add_agg(
    ('x' || encode(substr(p_hashes, i * 8 + 1, 8), 'hex'))::bit(64)::bigint::public.hll_hashval, 14, 5)
  from generate_series(0, length(p_hashes) / 8 - 1) as i
$$;
comment on function tally.hashes_hll(bytea) is 'The hll sketch of packed actor hashes; NULL for NULL.';
revoke all on function tally.hashes_hll(bytea) from public;
grant execute on function tally.hashes_hll(bytea) to tally_tenant, tally_bi;
create table tally.job_runs (
  job_run_id bigint generated always as identity primary key,
  job text not null,
  started_at timestamptz not null default clock_timestamp(),
  finished_at timestamptz,
  backend_pid integer not null default pg_backend_pid(),
  status text not null default 'running' check (status in ('running', 'done', 'failed', 'interrupted')),
  tenant_count integer not null default 0,
  row_count bigint not null default 0,
  healed_count bigint not null default 0,
  error text
);
comment on table tally.job_runs is 'One row for each run of a job, by pg_cron or by hand.';
comment on column tally.job_runs.status is 'interrupted: the backend is gone and the run never finished; the next run completed its work.';
comment on column tally.job_runs.tenant_count is 'Tenants for which the run did something.';
comment on column tally.job_runs.row_count is 'fold: deltas folded; finalize: periods made final; rebuild: periods rebuilt; maintain: rows moved or removed.';
comment on column tally.job_runs.healed_count is 'Summary rows that differed from the raw events and were corrected. Anything but 0 deserves a look.';
create index job_runs_job on tally.job_runs (job, started_at desc);

create table tally.rate_buckets (
  bucket text primary key,
  tokens double precision not null,
  updated_at timestamptz not null
) with (fillfactor = 50);
comment on table tally.rate_buckets is
  'Token buckets of the rate limit, shared by all service processes. Logged, so that a crash of the server fills no bucket; its writes do not wait for the disk.';

alter table tally.job_runs enable row level security;
alter table tally.rate_buckets enable row level security;

create table tally.schema_migrations (
  migration_id text primary key,
  applied_at timestamptz not null default now(),
  sha256 text
);
comment on table tally.schema_migrations is
  'Each migration records itself here in its own transaction, so that one which was cut off before the migration tool had marked it is recognised.';
comment on column tally.schema_migrations.sha256 is 'Of the migration''s text when it was applied: one whose text has changed since is refused.';
alter table tally.schema_migrations enable row level security;
create table tally.erasures (
  tenant_id uuid not null,
  erasure_id uuid not null,
  requested_at timestamptz not null default now(),
  finished_at timestamptz,
  searched_to timestamptz not null default '-infinity',
  event_count bigint not null default 0,
  first_occurred_at timestamptz,
  last_occurred_at timestamptz,
  day_count integer not null default 0,
  primary key (tenant_id, erasure_id)
);
comment on table tally.erasures is
  'Certificates: what was removed when the events of an actor were erased, without saying whose they were.';
comment on column tally.erasures.finished_at is 'NULL while steps remain.';
comment on column tally.erasures.searched_to is 'Events before this moment have been searched.';
comment on column tally.erasures.day_count is 'Local days whose summaries were recomputed.';

alter table tally.erasures enable row level security;
create policy own_tenant on tally.erasures
  using (tenant_id = tally.current_tenant())
  with check (tenant_id = tally.current_tenant());
grant select on tally.erasures to tally_tenant;
create table tally.audit_log (
  audit_id bigint generated always as identity primary key,
  occurred_at timestamptz not null default clock_timestamp(),
  action text not null,
  tenant_id uuid,
  subject text not null,
  login text not null default session_user,
  key_id uuid,
  details jsonb not null default '{}'
);
comment on table tally.audit_log is
  'Administrative acts: tenants and keys made, changed and revoked, BI logins, erasures, changes of calendar. Written in the transaction of the act. Holds no secret and no actor.';
comment on column tally.audit_log.action is 'What was done, for example key.create.';
comment on column tally.audit_log.subject is 'To what: the id of a key, the name of a login, the id of an erasure.';
comment on column tally.audit_log.login is 'The database login that did it: tally_service for requests over HTTP.';
comment on column tally.audit_log.key_id is 'For a request over HTTP, the API key that asked.';
create index audit_log_tenant_id on tally.audit_log (tenant_id, audit_id);

alter table tally.audit_log enable row level security;
-- Summaries with what is not yet folded, by the letter of the period type, which is what the key of
-- tally.summaries begins with; the views of schema bi are cuts of it.
create view tally.live_summaries with (security_invoker) as
with live as (
  select
    s.tenant_id, s.period_type, s.period_start, s.event_type, s.event_count, s.value_count,
    s.value_sum, s.value_min, s.value_max, s.actors, s.final_at, s.revision
  from tally.summaries as s
  where s.kind = 'event_type'::"char"
  union all
  select
    d.tenant_id, p.period_type::"char",
    tally.period_start(d.quarter_hour, p.period_type, t.time_zone, t.week_start), d.event_type,
    d.event_count, d.value_count, d.value_sum, d.value_min, d.value_max,
    tally.hashes_hll(d.actor_hashes), null::timestamptz as final_at, null::integer as revision
  from tally.summary_deltas as d
  join tally.tenants as t on t.tenant_id = d.tenant_id
  cross join (values ('quarter_hour'), ('day'), ('week'), ('month')) as p (period_type)
)
select
  l.tenant_id,
  l.period_type,
  l.period_start,
  tally.local_date(l.period_start, t.time_zone) as period_on,
  l.event_type,
  sum(l.event_count)::bigint as event_count,
  sum(l.value_count)::bigint as value_count,
  sum(l.value_sum) as value_sum,
  min(l.value_min) as value_min,
  max(l.value_max) as value_max,
  coalesce(round(public.hll_cardinality(public.hll_union_agg(l.actors))), 0)::bigint as unique_actors,
  count(*) = count(l.final_at) as is_final,
  coalesce(max(l.revision), 1) as revision,
  case when count(*) = count(l.final_at) then max(l.final_at) else now() end as as_of
from live as l
join tally.tenants as t on t.tenant_id = l.tenant_id
group by l.tenant_id, l.period_type, l.period_start, t.time_zone, l.event_type
having sum(l.event_count) > 0;
comment on view tally.live_summaries is
  'Summaries plus what is not yet folded, of the current tenant; read it through the views of schema bi.';

create view bi.quarter_hour_summaries with (security_invoker) as
select
  l.tenant_id, 'quarter_hour' as period_type, l.period_start, l.period_on, l.event_type, l.event_count,
  l.value_count, l.value_sum, l.value_min, l.value_max, l.unique_actors, l.is_final, l.revision,
  l.as_of
from tally.live_summaries as l
where l.period_type = 'quarter_hour'::"char";
comment on view bi.quarter_hour_summaries is 'One row a quarter hour and event type.';

create view bi.daily_summaries with (security_invoker) as
select
  l.tenant_id, 'day' as period_type, l.period_start, l.period_on, l.event_type, l.event_count,
  l.value_count, l.value_sum, l.value_min, l.value_max, l.unique_actors, l.is_final, l.revision,
  l.as_of
from tally.live_summaries as l
where l.period_type = 'day'::"char";
comment on view bi.daily_summaries is 'One row a local day and event type.';

create view bi.weekly_summaries with (security_invoker) as
select
  l.tenant_id, 'week' as period_type, l.period_start, l.period_on, l.event_type, l.event_count,
  l.value_count, l.value_sum, l.value_min, l.value_max, l.unique_actors, l.is_final, l.revision,
  l.as_of
from tally.live_summaries as l
where l.period_type = 'week'::"char";
comment on view bi.weekly_summaries is 'One row a week, from the tenant''s week start, and event type.';

create view bi.monthly_summaries with (security_invoker) as
select
  l.tenant_id, 'month' as period_type, l.period_start, l.period_on, l.event_type, l.event_count,
  l.value_count, l.value_sum, l.value_min, l.value_max, l.unique_actors, l.is_final, l.revision,
  l.as_of
from tally.live_summaries as l
where l.period_type = 'month'::"char";
comment on view bi.monthly_summaries is 'One row a local month and event type.';

-- A filter on period_type leaves only its branch.
create view bi.period_summaries with (security_invoker) as
select * from bi.quarter_hour_summaries
union all
select * from bi.daily_summaries
union all
select * from bi.weekly_summaries
union all
select * from bi.monthly_summaries;
comment on view bi.period_summaries is
  'Totals of each quarter hour, day, week and month and event type, live: summaries plus what is not yet folded. Shows the rows of the current tenant only.';
comment on column bi.period_summaries.tenant_id is 'The tenant: always the login''s own.';
comment on column bi.period_summaries.period_type is 'quarter_hour, day, week or month.';
comment on column bi.period_summaries.period_start is 'The first instant of the period.';
comment on column bi.period_summaries.period_on is 'The first date of the period in the tenant''s time zone.';
comment on column bi.period_summaries.event_type is 'What happened.';
comment on column bi.period_summaries.event_count is 'How many events.';
comment on column bi.period_summaries.value_count is 'How many of them had a value.';
comment on column bi.period_summaries.value_sum is 'The sum of the values, exact; NULL if there are none.';
comment on column bi.period_summaries.value_min is 'The smallest value.';
comment on column bi.period_summaries.value_max is 'The largest value.';
comment on column bi.period_summaries.unique_actors is 'Distinct actors: exact up to 1,280, standard error 0.8 % above. Not to be added up over periods or types.';
comment on column bi.period_summaries.is_final is 'The period has ended, was checked against the raw events, and nothing has arrived since.';
comment on column bi.period_summaries.revision is 'Goes up each time that a final figure changes.';
comment on column bi.period_summaries.as_of is 'The moment for which the figures hold: the check for final rows, otherwise now.';

grant select on tally.live_summaries, bi.period_summaries, bi.quarter_hour_summaries,
  bi.daily_summaries, bi.weekly_summaries, bi.monthly_summaries to tally_bi, tally_tenant;

do $$
declare
  v_comment record;
begin
  for v_comment in
    select c.oid::regclass as view, a.attname, col_description(a.attrelid, a.attnum) as text
    from pg_catalog.pg_attribute as a
    cross join pg_catalog.pg_class as c
    where a.attrelid = 'bi.period_summaries'::regclass
      and a.attnum > 0
      and c.relnamespace = 'bi'::regnamespace
      and c.relname <> 'period_summaries'
  loop
    execute format('comment on column %s.%I is %L', v_comment.view, v_comment.attname, v_comment.text);
  end loop;
end
$$;

insert into tally.schema_migrations (migration_id) values ('0001.initial');
