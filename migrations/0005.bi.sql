-- depends: 0004.ingest
-- For BI tools: local times that an index serves, raw events, the tenant, and row security that nobody
-- with a schema of his own can talk into showing another tenant. Writes each summary anew while readers
-- of summaries and fold wait, ingest does not: about 40 s a million rows.
set local lock_timeout = '5s';
set local statement_timeout = '2h';
set local role tally_owner;

-- Not a text between quotes, which each session would read anew by its own search_path: a BI login
-- with a schema could put a function `substr` or a type `uuid` of its own there, and be anybody.
create or replace function tally.current_tenant() returns uuid
language sql stable parallel safe
return case
  when current_user = 'tally_tenant' then nullif(current_setting('tally.tenant_id', true), '')::uuid
  when session_user::text ~ '^bi_[0-9a-f]{32}_' then substr(session_user::text, 4, 32)::uuid
end;

create function tally.local_time(p_at timestamptz, p_zone text) returns timestamp
language plpgsql immutable strict parallel safe
as $$
begin
  return greatest(p_at at time zone p_zone, tally.local_date(p_at, p_zone));
end
$$;
comment on function tally.local_time(timestamptz, text) is
  'What the clock of the zone shows, but never a date before the local day that holds the instant.';
revoke all on function tally.local_time(timestamptz, text) from public;
grant execute on function tally.local_time(timestamptz, text) to tally_tenant, tally_bi;

-- squawk-ignore prefer-timestamp-tz
alter table tally.summaries add column local_start timestamp;
update tally.summaries as s
set local_start = tally.local_time(s.period_start, t.time_zone)
from tally.tenants as t
where t.tenant_id = s.tenant_id;
alter table tally.summaries
  -- squawk-ignore adding-not-nullable-field
  alter column local_start set not null,
  -- squawk-ignore adding-field-with-default
  add column period_on date generated always as (local_start::date) stored;
comment on column tally.summaries.local_start is 'period_start on the clock of the tenant''s time zone (tally.local_time). Stored, since no index under row security serves an expression: for conditions of BI tools. A change of time zone updates it.';
comment on column tally.summaries.period_on is 'The first local date of the period.';
-- squawk-ignore require-concurrent-index-creation
create index summaries_local_start on tally.summaries (tenant_id, local_start)
  where period_type = 'q';
-- squawk-ignore require-concurrent-index-creation
create index summaries_period_on on tally.summaries (tenant_id, period_type, period_on)
  where kind = 'e';

grant select (event_retention, quarter_hour_retention, deleted_at) on tally.tenants to tally_bi;
grant select on tally.tenant_state, tally.events to tally_bi;

-- Summaries with what is not yet folded, by the letter of the period type, which is what the key of
-- tally.summaries begins with; the views of schema bi are cuts of it. Whatever may be a condition is
-- a column of the table and of `group by` as it is, so that an index serves it.
create or replace view tally.live_summaries with (security_invoker) as
with live as (
  select
    s.tenant_id, s.period_type, s.period_start, s.period_on, s.event_type, s.event_count,
    s.value_count, s.value_sum, s.value_min, s.value_max, s.actors, s.final_at, s.revision,
    s.local_start
  from tally.summaries as s
  where s.kind = 'event_type'::"char"
  union all
  select
    d.tenant_id, p.period_type::"char", b.period_start,
    tally.local_date(b.period_start, t.time_zone), d.event_type,
    d.event_count, d.value_count, d.value_sum, d.value_min, d.value_max,
    tally.hashes_hll(d.actor_hashes), null::timestamptz as final_at, null::integer as revision,
    tally.local_time(b.period_start, t.time_zone)
  from tally.summary_deltas as d
  join tally.tenants as t on t.tenant_id = d.tenant_id
  cross join (values ('quarter_hour'), ('day'), ('week'), ('month')) as p (period_type)
  cross join lateral tally.period_start(
    d.quarter_hour, p.period_type, t.time_zone, t.week_start) as b (period_start)
)
select
  l.tenant_id,
  l.period_type,
  l.period_start,
  l.period_on,
  l.event_type,
  sum(l.event_count)::bigint as event_count,
  sum(l.value_count)::bigint as value_count,
  sum(l.value_sum) as value_sum,
  min(l.value_min) as value_min,
  max(l.value_max) as value_max,
  coalesce(round(public.hll_cardinality(public.hll_union_agg(l.actors))), 0)::bigint as unique_actors,
  count(*) = count(l.final_at) as is_final,
  coalesce(max(l.revision), 1) as revision,
  case when count(*) = count(l.final_at) then max(l.final_at) else now() end as as_of,
  l.local_start
from live as l
group by
  l.tenant_id, l.period_type, l.period_start, l.local_start, l.period_on, l.event_type
having sum(l.event_count) > 0;
comment on view tally.live_summaries is
  'Summaries plus what is not yet folded, of the current tenant; read it through the views of schema bi.';

create or replace view bi.quarter_hour_summaries with (security_invoker) as
select
  l.tenant_id, 'quarter_hour' as period_type, l.period_start, l.period_on, l.event_type, l.event_count,
  l.value_count, l.value_sum, l.value_min, l.value_max, l.unique_actors, l.is_final, l.revision,
  l.as_of, l.local_start
from tally.live_summaries as l
where l.period_type = 'quarter_hour'::"char";
comment on view bi.quarter_hour_summaries is 'One row a quarter hour and event type.';

create or replace view bi.daily_summaries with (security_invoker) as
select
  l.tenant_id, 'day' as period_type, l.period_start, l.period_on, l.event_type, l.event_count,
  l.value_count, l.value_sum, l.value_min, l.value_max, l.unique_actors, l.is_final, l.revision,
  l.as_of, l.local_start
from tally.live_summaries as l
where l.period_type = 'day'::"char";
comment on view bi.daily_summaries is 'One row a local day and event type.';

create or replace view bi.weekly_summaries with (security_invoker) as
select
  l.tenant_id, 'week' as period_type, l.period_start, l.period_on, l.event_type, l.event_count,
  l.value_count, l.value_sum, l.value_min, l.value_max, l.unique_actors, l.is_final, l.revision,
  l.as_of, l.local_start
from tally.live_summaries as l
where l.period_type = 'week'::"char";
comment on view bi.weekly_summaries is 'One row a week, from the tenant''s week start, and event type.';

create or replace view bi.monthly_summaries with (security_invoker) as
select
  l.tenant_id, 'month' as period_type, l.period_start, l.period_on, l.event_type, l.event_count,
  l.value_count, l.value_sum, l.value_min, l.value_max, l.unique_actors, l.is_final, l.revision,
  l.as_of, l.local_start
from tally.live_summaries as l
where l.period_type = 'month'::"char";
comment on view bi.monthly_summaries is 'One row a local month and event type.';

-- A filter on period_type leaves only its branch.
create or replace view bi.period_summaries with (security_invoker) as
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
comment on column bi.period_summaries.period_start is 'The first instant of the period. Tools cut it into days of the session''s time zone, which may be another one; for days take period_on, for hours local_start.';
comment on column bi.period_summaries.local_start is 'period_start on the clock of the tenant''s time zone: the time axis of hours and quarter hours, for which an index serves it. Where the clock is set back, two periods have the same.';
comment on column bi.period_summaries.period_on is 'The first date of the period in the tenant''s time zone: the time axis of days, weeks and months. An index serves it.';
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

create or replace view bi.events with (security_invoker) as
select
  e.tenant_id, e.event_id, e.event_type, e.occurred_at,
  tally.local_date(e.occurred_at, t.time_zone) as occurred_on,
  tally.local_time(e.occurred_at, t.time_zone) as local_time,
  e.received_at, e.value, e.actor_id, e.session_id, e.data
from tally.events as e
join tally.tenants as t on t.tenant_id = e.tenant_id;
comment on view bi.events is
  'The raw events of the current tenant, from bi.tenant.events_kept_from on. Have a condition on occurred_at, which the index serves; the time that a statement of the login may take bounds the rest.';
comment on column bi.events.tenant_id is 'The tenant: always the login''s own.';
comment on column bi.events.event_id is 'With occurred_at, the identity of the event.';
comment on column bi.events.event_type is 'What happened.';
comment on column bi.events.occurred_at is 'When it happened. An index serves conditions on it.';
comment on column bi.events.occurred_on is 'The local day of the event. Computed: for grouping, not for conditions.';
comment on column bi.events.local_time is 'occurred_at on the clock of the tenant''s time zone. Computed: for grouping, not for conditions.';
comment on column bi.events.received_at is 'When it was stored.';
comment on column bi.events.value is 'The number to sum and average.';
comment on column bi.events.actor_id is 'Who did it.';
comment on column bi.events.session_id is 'During which session.';
comment on column bi.events.data is 'Anything else, for example data ->> ''plan''.';

create or replace view bi.tenant with (security_invoker) as
select
  t.tenant_id, t.name, t.time_zone, t.week_start::integer as week_start, t.created_at,
  nullif(s.events_kept_from, '-infinity') as events_kept_from,
  nullif(s.quarter_hours_kept_from, '-infinity') as quarter_hours_kept_from
from tally.tenants as t
join tally.tenant_state as s on s.tenant_id = t.tenant_id;
comment on view bi.tenant is 'One row: the tenant of the login.';
comment on column bi.tenant.tenant_id is 'The tenant: always the login''s own.';
comment on column bi.tenant.name is 'Its name.';
comment on column bi.tenant.time_zone is 'IANA name of the time zone in which its days, weeks and months are cut.';
comment on column bi.tenant.week_start is 'ISO weekday on which its weeks start: 1 Monday to 7 Sunday.';
comment on column bi.tenant.created_at is 'When it was made.';
comment on column bi.tenant.events_kept_from is 'Raw events are complete from here on; NULL if retention has removed none.';
comment on column bi.tenant.quarter_hours_kept_from is 'Quarter hours are complete from here on; NULL if retention has removed none.';

grant select on tally.live_summaries, bi.period_summaries, bi.quarter_hour_summaries,
  bi.daily_summaries, bi.weekly_summaries, bi.monthly_summaries, bi.events, bi.tenant to tally_bi, tally_tenant;

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
      and c.relname ~ '_summaries$'
      and c.relname <> 'period_summaries'
  loop
    execute format('comment on column %s.%I is %L', v_comment.view, v_comment.attname, v_comment.text);
  end loop;
end
$$;

insert into tally.schema_migrations (migration_id) values ('0005.bi');
