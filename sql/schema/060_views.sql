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
