-- Summaries with what is not yet folded, by the letter of the period type, which is what the key of
-- tally.summaries begins with; the views of schema bi are cuts of it. Whatever may be a condition is
-- a column of the table and of `group by` as it is, so that an index serves it.
create view tally.live_summaries with (security_invoker) as
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
    d.event_count, d.value_count, d.value_sum, d.value_min, d.value_max, d.actors,
    null::timestamptz as final_at, null::integer as revision,
    tally.local_time(b.period_start, t.time_zone)
  from (
    -- A period and a sketch for each quarter hour, not for each delta.
    select
      w.tenant_id, w.quarter_hour, w.event_type, sum(w.event_count)::bigint as event_count,
      sum(w.value_count)::bigint as value_count, sum(w.value_sum) as value_sum,
      min(w.value_min) as value_min, max(w.value_max) as value_max,
      tally.hashes_hll(string_agg(w.actor_hashes, '')) as actors
    from tally.summary_deltas as w
    group by w.tenant_id, w.quarter_hour, w.event_type
  ) as d
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

create view bi.quarter_hour_summaries with (security_invoker) as
select
  l.tenant_id, 'quarter_hour' as period_type, l.period_start, l.period_on, l.event_type, l.event_count,
  l.value_count, l.value_sum, l.value_min, l.value_max, l.unique_actors, l.is_final, l.revision,
  l.as_of, l.local_start
from tally.live_summaries as l
where l.period_type = 'quarter_hour'::"char";
comment on view bi.quarter_hour_summaries is 'One row a quarter hour and event type.';

create view bi.daily_summaries with (security_invoker) as
select
  l.tenant_id, 'day' as period_type, l.period_start, l.period_on, l.event_type, l.event_count,
  l.value_count, l.value_sum, l.value_min, l.value_max, l.unique_actors, l.is_final, l.revision,
  l.as_of, l.local_start
from tally.live_summaries as l
where l.period_type = 'day'::"char";
comment on view bi.daily_summaries is 'One row a local day and event type.';

create view bi.weekly_summaries with (security_invoker) as
select
  l.tenant_id, 'week' as period_type, l.period_start, l.period_on, l.event_type, l.event_count,
  l.value_count, l.value_sum, l.value_min, l.value_max, l.unique_actors, l.is_final, l.revision,
  l.as_of, l.local_start
from tally.live_summaries as l
where l.period_type = 'week'::"char";
comment on view bi.weekly_summaries is 'One row a week, from the tenant''s week start, and event type.';

create view bi.monthly_summaries with (security_invoker) as
select
  l.tenant_id, 'month' as period_type, l.period_start, l.period_on, l.event_type, l.event_count,
  l.value_count, l.value_sum, l.value_min, l.value_max, l.unique_actors, l.is_final, l.revision,
  l.as_of, l.local_start
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

create view bi.events with (security_invoker) as
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

create view bi.tenant with (security_invoker) as
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

-- What meters have counted, live: rows and what is not yet folded, in the days that each version of a
-- meter answers for (as tally.meter_versions has them), and weeks and months made of days. A period of
-- which days are not filled, or were gone before the meter was made, is not there.
create view tally.live_meters with (security_invoker) as
with versions as not materialized (
  select
    m.tenant_id, m.name, m.meter_id, m.dimensions, m.filled_from as covers_from,
    coalesce(min(m.filled_from) over (
      partition by m.tenant_id, m.name order by m.version desc
      rows between unbounded preceding and 1 preceding), 'infinity') as covers_to,
    min(m.filled_from) over (partition by m.tenant_id, m.name) as known_from
  from tally.meters as m
  where m.deleted_at is null
),
live as (
  select
    v.tenant_id, v.name, v.known_from, s.period_start as day, s.part, s.group_key, s.event_count,
    s.value_count, s.value_sum, s.value_min, s.value_max, s.value_errors, s.uniques, s.final_at,
    s.revision, s.value_histogram
  from versions as v
  join tally.meter_summaries as s
    on s.tenant_id = v.tenant_id
    and s.meter_id = v.meter_id
    and s.period_type = 'd'::"char"
    and s.period_start >= v.covers_from
    and s.period_start < v.covers_to
  union all
  select
    v.tenant_id, v.name, v.known_from, d.quarter_hour, k.part,
    case when k.part = 'g'::"char" then e.group_key else '{}' end, e.event_count, e.value_count,
    e.value_sum, e.value_min, e.value_max, e.value_errors, tally.hashes_hll(e.unique_hashes),
    null::timestamptz, 1, e.value_histogram
  from versions as v
  join tally.meter_deltas as d
    on d.tenant_id = v.tenant_id
    and d.meter_id = v.meter_id
    and d.quarter_hour >= v.covers_from
    and d.quarter_hour < v.covers_to
  cross join lateral unnest(d.entries) as e
  cross join lateral (
    values ('t'::"char"), (case
      when v.dimensions = '{}' then null
      when e.group_key is not null and array_position(e.group_key, null) is null then 'g'
      else 'm' end::"char")
  ) as k (part)
  where k.part is not null
),
periods as (
  select
    l.tenant_id, l.name, p.period_type, b.period_start, l.part, l.group_key,
    tally.period_end(b.period_start, p.period_type, t.time_zone, t.week_start) as period_end,
    tally.local_date(b.period_start, t.time_zone) as period_on,
    sum(l.event_count)::bigint as event_count,
    sum(l.value_count)::bigint as value_count,
    sum(l.value_sum) as value_sum,
    min(l.value_min) as value_min,
    max(l.value_max) as value_max,
    sum(l.value_errors)::bigint as value_errors,
    coalesce(round(public.hll_cardinality(public.hll_union_agg(l.uniques))), 0)::bigint as unique_count,
    count(*) = count(l.final_at) as is_final,
    (1 + sum(l.revision - 1))::integer as revision,
    -- Not where a version of the meter without percentiles has counted days of the period.
    case when coalesce(sum(l.value_count) filter (where l.value_histogram is null), 0) = 0 then
      tally.histogram_percentiles(
        string_agg(l.value_histogram, ''), '{0.5,0.9,0.99}', min(l.value_min), max(l.value_max))
    end as percentiles
  from live as l
  join tally.tenants as t on t.tenant_id = l.tenant_id
  cross join (values ('day'), ('week'), ('month')) as p (period_type)
  cross join lateral tally.period_start(
    l.day, p.period_type, t.time_zone, t.week_start) as b (period_start)
  where b.period_start >= l.known_from
  group by
    l.tenant_id, l.name, p.period_type, b.period_start, l.part, l.group_key, t.time_zone, t.week_start
)
select
  p.tenant_id,
  p.name as meter,
  p.period_type,
  case p.part
    when 'g'::"char" then 'group' when 'm'::"char" then 'missing' when 'o'::"char" then 'other'
    else 'total' end as part,
  p.group_key[1] as dimension_1,
  p.group_key[2] as dimension_2,
  p.group_key[3] as dimension_3,
  p.period_on,
  p.event_count,
  p.value_count,
  p.value_sum,
  p.value_min,
  p.value_max,
  p.value_errors,
  p.unique_count,
  p.is_final and p.period_end <= s.days_finalized_to as is_final,
  p.revision,
  p.percentiles[1] as p50,
  p.percentiles[2] as p90,
  p.percentiles[3] as p99
from periods as p
join tally.tenant_state as s on s.tenant_id = p.tenant_id;
comment on view tally.live_meters is
  'What meters have counted plus what is not yet folded, of the current tenant; read it through the views of schema bi.';

create view bi.meter_days with (security_invoker) as
select
  l.tenant_id, l.meter, l.part, l.dimension_1, l.dimension_2, l.dimension_3, l.period_on, l.event_count,
  l.value_count, l.value_sum, l.value_min, l.value_max, l.value_errors, l.unique_count, l.is_final,
  l.revision, l.p50, l.p90, l.p99
from tally.live_meters as l
where l.period_type = 'day';
comment on view bi.meter_days is 'One row a meter, local day and group, and its missing, other and total, live. Shows the rows of the current tenant only.';
comment on column bi.meter_days.tenant_id is 'The tenant: always the login''s own.';
comment on column bi.meter_days.meter is 'The name of the meter.';
comment on column bi.meter_days.part is 'group; missing: the events that lack one of the dimensions; other: the groups that a day does not keep; total: all of them. Groups, missing and other add up to the total: have a condition on part.';
comment on column bi.meter_days.dimension_1 is 'The first of the meter''s dimensions, as text; NULL but for groups.';
comment on column bi.meter_days.dimension_2 is 'The second; NULL where the meter has none.';
comment on column bi.meter_days.dimension_3 is 'The third; NULL where the meter has none.';
comment on column bi.meter_days.period_on is 'The first date of the period in the tenant''s time zone: the time axis.';
comment on column bi.meter_days.event_count is 'How many events.';
comment on column bi.meter_days.value_count is 'How many of them had the meter''s number.';
comment on column bi.meter_days.value_sum is 'The sum of the numbers, exact; NULL if there are none.';
comment on column bi.meter_days.value_min is 'The smallest number.';
comment on column bi.meter_days.value_max is 'The largest number.';
comment on column bi.meter_days.value_errors is 'Events that had something else in place of the number.';
comment on column bi.meter_days.unique_count is 'Distinct actors, or what the meter counts: exact up to 1,280, standard error 0.8 % above. Not to be added up over periods or groups.';
comment on column bi.meter_days.is_final is 'The period has ended, was checked against the raw events, and nothing has arrived since.';
comment on column bi.meter_days.revision is 'Goes up each time that a final figure changes.';
comment on column bi.meter_days.p50 is 'The median of the numbers, with an error of less than 1 %; NULL unless the meter has percentiles. Not to be added up or averaged.';
comment on column bi.meter_days.p90 is 'The number that 90 % of them do not exceed, likewise.';
comment on column bi.meter_days.p99 is 'The number that 99 % of them do not exceed, likewise.';

create view bi.meter_weeks with (security_invoker) as
select
  l.tenant_id, l.meter, l.part, l.dimension_1, l.dimension_2, l.dimension_3, l.period_on, l.event_count,
  l.value_count, l.value_sum, l.value_min, l.value_max, l.value_errors, l.unique_count, l.is_final,
  l.revision, l.p50, l.p90, l.p99
from tally.live_meters as l
where l.period_type = 'week';
comment on view bi.meter_weeks is 'One row a meter, week, from the tenant''s week start, and group; made of days.';

create view bi.meter_months with (security_invoker) as
select
  l.tenant_id, l.meter, l.part, l.dimension_1, l.dimension_2, l.dimension_3, l.period_on, l.event_count,
  l.value_count, l.value_sum, l.value_min, l.value_max, l.value_errors, l.unique_count, l.is_final,
  l.revision, l.p50, l.p90, l.p99
from tally.live_meters as l
where l.period_type = 'month';
comment on view bi.meter_months is 'One row a meter, local month and group; made of days.';

do $$
declare
  v_comment record;
begin
  for v_comment in
    select v.view, a.attname, col_description(a.attrelid, a.attnum) as text
    from pg_catalog.pg_attribute as a
    cross join (values ('bi.meter_weeks'), ('bi.meter_months')) as v (view)
    where a.attrelid = 'bi.meter_days'::regclass
      and a.attnum > 0
  loop
    execute format('comment on column %s.%I is %L', v_comment.view, v_comment.attname, v_comment.text);
  end loop;
end
$$;

grant select on tally.live_meters, bi.meter_days, bi.meter_weeks, bi.meter_months to tally_bi, tally_tenant;
