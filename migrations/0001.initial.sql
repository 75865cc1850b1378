-- pgtally: exact, live, multi-tenant event analytics.
--
-- An event arrives through api.events_ingest, which inserts it into tally.events and, in the
-- same transaction, appends what it really inserted, grouped by quarter hour and type, to
-- tally.summary_deltas. Every minute tally.fold moves the deltas into tally.summaries
-- (quarter hours, days, weeks, months). Readers add both, so every snapshot sees
-- summaries + deltas = events. tally.finalize checks ended periods against the raw events and
-- marks them final. A range is answered from the coarsest rows that fit it (tally.slices).
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
end
$$;

grant tally_owner to tally_jobs;

create extension if not exists hll with schema public;

create schema tally authorization tally_owner;
create schema api authorization tally_owner;
comment on schema tally is 'pgtally: tables, views and maintenance.';
comment on schema api is 'pgtally: the functions that clients execute.';

-- A new function is executable by nobody until its own file grants it.
alter default privileges for role tally_owner revoke execute on functions from public;
alter default privileges for role tally_tenant revoke execute on functions from public;

grant usage on schema tally to tally_tenant, tally_bi;
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

create type tally.period_type as enum ('quarter_hour', 'day', 'week', 'month');
comment on type tally.period_type is
  'What one summary row covers. Quarter hours are cut in UTC; days, weeks and months in the tenant''s time zone.';

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
language sql immutable strict parallel safe
as $$
  select case p_unit
    when 'week' then p_on - (extract(isodow from p_on)::integer - p_week_start + 7) % 7
    when 'month' then p_on - extract(day from p_on)::integer + 1
    else p_on
  end
$$;
comment on function tally.first_date(date, text, integer) is
  'The first date of the day, week or month that holds the date.';

create function tally.next_date(p_first date, p_unit text) returns date
language sql immutable strict parallel safe
as $$
  select case p_unit
    when 'week' then p_first + 7
    when 'month' then (p_first + interval '1 month')::date
    else p_first + 1
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
language sql immutable strict parallel safe
as $$
  select case
    when tally.period_start(p_at, p_unit, p_zone, p_week_start) = p_at then p_at
    else tally.period_end(p_at, p_unit, p_zone, p_week_start)
  end
$$;
comment on function tally.period_ceiling(timestamptz, text, text, integer) is
  'The first start of a period at or after the instant.';

grant execute on all functions in schema tally to tally_tenant, tally_bi;
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
  created_at timestamptz not null default now()
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
  rate_limits_per_minute jsonb not null default '{}' check (
    jsonb_typeof(rate_limits_per_minute) = 'object'
    and not rate_limits_per_minute
      @? '$.* ? (@.type() != "number" || @ < 0 || @ > 100000000 || @.floor() != @)'),
  created_at timestamptz not null default now(),
  expires_at timestamptz,
  revoked_at timestamptz,
  last_used_at timestamptz,
  constraint api_keys_without_tenant check (tenant_id is not null or scopes = array['admin'])
);
comment on table tally.api_keys is
  'API keys. The key itself is shown once, when it is made, and never stored. Scope ingest stores events, read asks for figures, admin erases. A key without a tenant, always of scope admin, makes tenants.';
comment on column tally.api_keys.key_prefix is 'The public start of the key, by which people recognise it.';
comment on column tally.api_keys.key_hash is 'sha-256 of the whole key, which holds 244 random bits.';
comment on column tally.api_keys.rate_limits_per_minute is
  'Overrides, for example {"ingest": 5000}: requests a minute by class (ingest, analytics, summaries, tenants); 0 refuses all.';
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

create table tally.event_moves (
  move_id bigint generated always as identity primary key,
  moved_at timestamptz not null default now(),
  partition_name text not null,
  event_count bigint not null
);
comment on table tally.event_moves is
  'Each time that events moved from the default partition to one of their own, or that a partition was dropped. A reader whose snapshot is older may look for events in the wrong place; it compares tally.moves_seen with tally.moves_made and tries again.';
alter table tally.event_moves enable row level security;

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
grant execute on function tally.actor_hash(text) to tally_tenant;
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
  period_type tally.period_type not null,
  period_start timestamptz not null,
  metric_kind text not null default 'event_type' check (metric_kind in ('event_type', 'defined')),
  metric text not null,
  dimensions jsonb not null default '{}',
  event_count bigint not null,
  value_count bigint not null,
  value_sum numeric,
  value_min numeric,
  value_max numeric,
  actors public.hll,
  revision integer not null default 1,
  updated_at timestamptz not null default now(),
  final_at timestamptz,
  primary key (tenant_id, period_type, period_start, metric_kind, metric, dimensions)
) with (fillfactor = 80);
comment on table tally.summaries is
  'Totals of each period and event type. Together with the deltas not yet folded they equal the raw events at every moment. A row that was final and has lost all its events stays, with 0, so that its change can be told.';
comment on column tally.summaries.period_start is 'The first instant of the period; for days, weeks and months in the tenant''s time zone.';
comment on column tally.summaries.metric is 'For kind event_type, the event type.';
comment on column tally.summaries.value_count is 'How many of the events had a value.';
comment on column tally.summaries.actors is 'hll sketch of the distinct actors (log2m 14: exact up to 1,280 actors, standard error 0.8 % above).';
comment on column tally.summaries.revision is 'Starts at 1 and goes up each time that a final row changes.';
comment on column tally.summaries.updated_at is 'When the figures last changed, by the clock while the tenant''s row was locked: in commit order for each tenant.';
comment on column tally.summaries.final_at is 'When the row was last checked against the raw events after its period had ended; NULL while it is open, and again after a late event.';
create index summaries_open on tally.summaries (tenant_id, period_type, period_start)
  where final_at is null and period_type <> 'quarter_hour';

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

create unlogged table tally.rate_buckets (
  bucket text primary key,
  tokens double precision not null,
  updated_at timestamptz not null
) with (fillfactor = 50);
comment on table tally.rate_buckets is
  'Token buckets of the rate limit, shared by all service processes. Unlogged: after a crash every bucket is full again.';

alter table tally.job_runs enable row level security;
alter table tally.rate_buckets enable row level security;

create table tally.schema_migrations (
  migration_id text primary key,
  applied_at timestamptz not null default now()
);
comment on table tally.schema_migrations is
  'Each migration records itself here in its own transaction, so that one which was cut off before the migration tool had marked it is recognised.';
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
create view tally.period_summaries with (security_invoker) as
with live as (
  select
    tenant_id, period_type, period_start, metric, event_count, value_count, value_sum, value_min,
    value_max, actors, final_at, revision, updated_at
  from tally.summaries
  where metric_kind = 'event_type'
  union all
  select
    d.tenant_id, p.period_type,
    tally.period_start(d.quarter_hour, p.period_type::text, t.time_zone, t.week_start), d.event_type,
    d.event_count, d.value_count, d.value_sum, d.value_min, d.value_max,
    tally.hashes_hll(d.actor_hashes), null, null, now()
  from tally.summary_deltas as d
  join tally.tenants as t on t.tenant_id = d.tenant_id
  cross join unnest(enum_range(null::tally.period_type)) as p (period_type)
)
select
  l.tenant_id,
  l.period_type,
  l.period_start,
  tally.local_date(l.period_start, t.time_zone) as period_on,
  l.metric as event_type,
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
group by l.tenant_id, l.period_type, l.period_start, t.time_zone, l.metric
having sum(l.event_count) > 0;
comment on view tally.period_summaries is
  'Totals of each quarter hour, day, week and month and event type, live: summaries plus what is not yet folded. Shows the rows of the current tenant only.';
comment on column tally.period_summaries.period_on is 'The first date of the period in the tenant''s time zone.';
comment on column tally.period_summaries.unique_actors is 'Distinct actors: exact up to 1,280, standard error 0.8 % above.';
comment on column tally.period_summaries.is_final is 'The period has ended, was checked against the raw events, and nothing has arrived since.';
comment on column tally.period_summaries.revision is 'Goes up each time that a final figure changes.';
comment on column tally.period_summaries.as_of is 'The moment for which the figures hold: the check for final rows, otherwise now.';

create view tally.daily_summaries with (security_invoker) as
select * from tally.period_summaries where period_type = 'day';
comment on view tally.daily_summaries is 'One row a local day and event type.';

create view tally.weekly_summaries with (security_invoker) as
select * from tally.period_summaries where period_type = 'week';
comment on view tally.weekly_summaries is 'One row a week, from the tenant''s week start, and event type.';

create view tally.monthly_summaries with (security_invoker) as
select * from tally.period_summaries where period_type = 'month';
comment on view tally.monthly_summaries is 'One row a local month and event type.';

grant select on tally.period_summaries, tally.daily_summaries, tally.weekly_summaries,
  tally.monthly_summaries to tally_bi, tally_tenant;

insert into tally.schema_migrations (migration_id) values ('0001.initial');
