-- depends: 0001.initial
-- Isolation, keys and rate limits: views in a schema of their own, limits of a tenant, the audit log,
-- rate buckets that survive a crash.
set local lock_timeout = '5s';
set local statement_timeout = '10min';

create schema bi authorization tally_owner;
comment on schema bi is 'pgtally: the views that BI tools read; each login sees one tenant.';
comment on schema tally is 'pgtally: tables and maintenance.';
grant usage on schema bi to tally_tenant, tally_bi;

set local role tally_owner;
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

alter table tally.tenants
  add column rate_limits_per_minute jsonb not null default '{}'
    constraint tenants_rate_limits_per_minute_check check (tally.is_rate_limits(rate_limits_per_minute));
comment on column tally.tenants.rate_limits_per_minute is
  'Overrides for all keys of the tenant together, for example {"ingest": 5000}; a key''s own go first.';

-- Checked at once: the table holds a row a key.
alter table tally.api_keys
  -- squawk-ignore ban-drop-constraint
  drop constraint api_keys_rate_limits_per_minute_check,
  -- squawk-ignore constraint-missing-not-valid
  add constraint api_keys_rate_limits_per_minute_check check (tally.is_rate_limits(rate_limits_per_minute));
comment on column tally.api_keys.rate_limits_per_minute is
  'Overrides, for example {"ingest": 5000}: requests a minute by class (ingest, bulk, analytics, summaries, tenants), counted for this key alone; 0 refuses all.';
comment on column tally.api_keys.last_used_at is 'To the minute; written by the service once a minute, not with each request.';

alter table tally.rate_buckets set logged;
comment on table tally.rate_buckets is
  'Token buckets of the rate limit, shared by all service processes. Logged, so that a crash of the server fills no bucket; its writes do not wait for the disk.';

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

-- PL/pgSQL keeps its plans; as strict SQL functions these three were planned at each call (30 us).
create or replace function tally.first_date(p_on date, p_unit text, p_week_start integer) returns date
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
create or replace function tally.next_date(p_first date, p_unit text) returns date
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
create or replace function tally.period_ceiling(p_at timestamptz, p_unit text, p_zone text, p_week_start integer)
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

-- Enum operators are not leakproof, so under row security no index served period_type: a count read
-- all summary rows of its tenant. No one runs pgtally yet, so no BI tool knows the old views.
-- squawk-ignore ban-drop-view
drop view tally.daily_summaries, tally.weekly_summaries, tally.monthly_summaries, tally.period_summaries;
-- squawk-ignore require-concurrent-index-deletion
drop index tally.summaries_open;
alter table tally.summaries
  -- squawk-ignore changing-column-type
  alter column period_type type text using period_type::text,
  -- squawk-ignore constraint-missing-not-valid
  add constraint summaries_period_type_check check (period_type in ('quarter_hour', 'day', 'week', 'month'));
-- Rows for all types together: a question about all of them reads one row a period instead of one a
-- type, which made unique actors of 90 days 2 to 5 times as fast with 20 types.
-- squawk-ignore ban-drop-constraint
alter table tally.summaries drop constraint summaries_metric_kind_check;
alter table tally.summaries
  -- squawk-ignore constraint-missing-not-valid
  add constraint summaries_metric_kind_check check (metric_kind in ('event_type', 'all', 'defined'));
comment on column tally.summaries.metric_kind is 'event_type: of one event type. all: of all types together, for days, weeks and months, so that a question about all of them reads a row a period. defined: not used yet.';
comment on column tally.summaries.metric is 'For kind event_type, the event type; for kind all, empty.';
insert into tally.summaries (
  tenant_id, period_type, period_start, metric_kind, metric, event_count, value_count, value_sum,
  value_min, value_max, actors, updated_at, final_at
)
select
  tenant_id, period_type, period_start, 'all', '', sum(event_count)::bigint,
  sum(value_count)::bigint, sum(value_sum), min(value_min), max(value_max),
  public.hll_union_agg(actors), max(updated_at),
  case when count(*) = count(final_at) then max(final_at) end
from tally.summaries
where metric_kind = 'event_type' and period_type <> 'quarter_hour'
group by tenant_id, period_type, period_start;
comment on column tally.summaries.period_type is 'What the row covers. Quarter hours are cut in UTC; days, weeks and months in the tenant''s time zone. Text, because enum operators are not leakproof: under row security no index would serve them.';
-- squawk-ignore require-concurrent-index-creation
create index summaries_open on tally.summaries (tenant_id, period_type, period_start)
  where final_at is null and period_type <> 'quarter_hour';
-- The functions that name the type go with it; sql/functions is loaded next.
-- squawk-ignore ban-drop-type
drop type tally.period_type cascade;

create view bi.period_summaries with (security_invoker) as
with live as (
  select
    tenant_id, period_type, period_start, metric, event_count, value_count, value_sum, value_min,
    value_max, actors, final_at, revision, updated_at
  from tally.summaries
  where metric_kind = 'event_type'
  union all
  select
    d.tenant_id, p.period_type,
    tally.period_start(d.quarter_hour, p.period_type, t.time_zone, t.week_start), d.event_type,
    d.event_count, d.value_count, d.value_sum, d.value_min, d.value_max,
    tally.hashes_hll(d.actor_hashes), null, null, now()
  from tally.summary_deltas as d
  join tally.tenants as t on t.tenant_id = d.tenant_id
  cross join unnest(array['quarter_hour', 'day', 'week', 'month']) as p (period_type)
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

create view bi.daily_summaries with (security_invoker) as
select * from bi.period_summaries where period_type = 'day';
comment on view bi.daily_summaries is 'One row a local day and event type.';

create view bi.weekly_summaries with (security_invoker) as
select * from bi.period_summaries where period_type = 'week';
comment on view bi.weekly_summaries is 'One row a week, from the tenant''s week start, and event type.';

create view bi.monthly_summaries with (security_invoker) as
select * from bi.period_summaries where period_type = 'month';
comment on view bi.monthly_summaries is 'One row a local month and event type.';

grant select on bi.period_summaries, bi.daily_summaries, bi.weekly_summaries,
  bi.monthly_summaries to tally_bi, tally_tenant;

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

insert into tally.schema_migrations (migration_id) values ('0002.isolation');
