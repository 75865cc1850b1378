-- depends: 0011.page
-- Views of meters for BI tools.
set local lock_timeout = '5s';
set local statement_timeout = '10min';
set local role tally_owner;

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
    s.revision
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
    null::timestamptz, 1
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
    (1 + sum(l.revision - 1))::integer as revision
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
  p.revision
from periods as p
join tally.tenant_state as s on s.tenant_id = p.tenant_id;
comment on view tally.live_meters is
  'What meters have counted plus what is not yet folded, of the current tenant; read it through the views of schema bi.';

create view bi.meter_days with (security_invoker) as
select
  l.tenant_id, l.meter, l.part, l.dimension_1, l.dimension_2, l.dimension_3, l.period_on, l.event_count,
  l.value_count, l.value_sum, l.value_min, l.value_max, l.value_errors, l.unique_count, l.is_final,
  l.revision
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

create view bi.meter_weeks with (security_invoker) as
select
  l.tenant_id, l.meter, l.part, l.dimension_1, l.dimension_2, l.dimension_3, l.period_on, l.event_count,
  l.value_count, l.value_sum, l.value_min, l.value_max, l.value_errors, l.unique_count, l.is_final,
  l.revision
from tally.live_meters as l
where l.period_type = 'week';
comment on view bi.meter_weeks is 'One row a meter, week, from the tenant''s week start, and group; made of days.';

create view bi.meter_months with (security_invoker) as
select
  l.tenant_id, l.meter, l.part, l.dimension_1, l.dimension_2, l.dimension_3, l.period_on, l.event_count,
  l.value_count, l.value_sum, l.value_min, l.value_max, l.value_errors, l.unique_count, l.is_final,
  l.revision
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

insert into tally.schema_migrations (migration_id) values ('0012.meter_views');
