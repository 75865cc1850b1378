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
