-- The days, weeks or months of a meter, as api.summary_list gives them of event types: with p_groups a
-- row a period and group, `missing`, `other` and the total, otherwise the total alone. Each tells
-- whether it is final, the moment it holds for, its revision, and how many events a group may have
-- more, where a day has not kept it (error_bound: 0 is exact); and percentiles, with an error of less than
-- 1 %, where the meter has them. Days that are gone from the raw events
-- come from the version of the meter that counted them. Cost: a row a day and group.
create function api.meter_summary_list(
  p_tenant uuid,
  p_meter text,
  p_period_type text,
  p_from text default '',
  p_to text default '',
  p_period_start text default '',
  p_groups boolean default true
)
returns table (
  part text, group_values text[], period_on date, period_start timestamptz, period_end timestamptz,
  event_count bigint, value_count bigint, value_sum numeric, value_min numeric, value_max numeric,
  value_errors bigint, unique_count bigint, final boolean, as_of timestamptz, revision integer,
  error_bound bigint, p50 numeric, p90 numeric, p99 numeric
)
language plpgsql stable strict security definer
set search_path = ''
set plan_cache_mode = force_custom_plan
as $$
declare
  v_tenant tally.tenant_context := tally.tenant_set_current(p_tenant);
  v_zone text := v_tenant.time_zone;
  v_range record := tally.summary_range(v_tenant, p_period_type, p_from, p_to, p_period_start);
  v_from timestamptz := tally.day_start(v_range.first_on, v_zone);
  v_to timestamptz := tally.day_start(v_range.end_on, v_zone);
  v_boundaries timestamptz[];
  v_rows bigint;
begin
  perform tally.check_meter_range(v_tenant, p_meter, v_from);
  if v_from = v_to then
    return;
  end if;
  select b.boundaries into v_boundaries
  from tally.timeline_buckets(v_from, v_to, p_period_type, v_zone, v_tenant.week_start) as b;
  return query
  with days as materialized (
    select
      s.*,
      -- Not a join of the days with themselves, which is quadratic where it is planned for a few rows.
      max(s.largest_group) filter (where s.part = 'o')
        over (partition by s.meter_id, s.period_start) as day_bound
    from tally.meter_versions(p_tenant, p_meter) as v
    join tally.meter_summaries as s
      on s.tenant_id = p_tenant
      and s.meter_id = v.meter_id
      and s.period_type = 'd'::"char"
      and s.period_start >= greatest(v_from, v.covers_from)
      and s.period_start < least(v_to, v.covers_to)
  ),
  parts as (
    select
      width_bucket(d.period_start, v_boundaries) as bucket, d.part, d.group_key, d.event_count,
      d.value_count, d.value_sum, d.value_min, d.value_max, d.value_errors, d.uniques, d.final_at,
      d.revision, case when d.part = 'g' then coalesce(d.day_bound, 0) else 0 end as known_bound,
      d.value_histogram
    from days as d
    union all
    select
      width_bucket(d.quarter_hour, v_boundaries), k.part,
      case when k.part = 'g' then e.group_key else '{}' end, e.event_count, e.value_count, e.value_sum,
      e.value_min, e.value_max, e.value_errors, tally.hashes_hll(e.unique_hashes), null, 1, 0,
      e.value_histogram
    from tally.meter_versions(p_tenant, p_meter) as v
    join tally.meter_deltas as d
      on d.tenant_id = p_tenant
      and d.meter_id = v.meter_id
      and d.quarter_hour >= greatest(v_from, v.covers_from)
      and d.quarter_hour < least(v_to, v.covers_to)
    cross join lateral unnest(d.entries) as e
    cross join lateral (
      values ('t'::"char"), (case
        when v.dimensions = '{}' then null
        when array_position(e.group_key, null) is null and e.group_key is not null then 'g'
        else 'm' end::"char")
    ) as k (part)
    where k.part is not null
  ),
  bounds as (
    select width_bucket(o.period_start, v_boundaries) as bucket, sum(o.largest_group) as bound
    from days as o
    where o.part = 'o'
    group by 1
  ),
  figures as (
    select
      p.bucket, p.part, p.group_key, sum(p.event_count)::bigint as event_count,
      sum(p.value_count)::bigint as value_count, sum(p.value_sum) as value_sum,
      min(p.value_min) as value_min, max(p.value_max) as value_max,
      sum(p.value_errors)::bigint as value_errors,
      coalesce(round(public.hll_cardinality(public.hll_union_agg(p.uniques))), 0)::bigint as unique_count,
      bool_and(p.final_at is not null)
        and v_boundaries[p.bucket + 1] <= v_tenant.days_finalized_to as final,
      max(p.final_at) as final_at, (1 + sum(p.revision - 1))::integer as revision,
      sum(p.known_bound) as known_bound,
      -- Not where a version of the meter without percentiles has counted days of the period.
      case when coalesce(sum(p.value_count) filter (where p.value_histogram is null), 0) = 0 then
        tally.histogram_percentiles(
          string_agg(p.value_histogram, ''), '{0.5,0.9,0.99}', min(p.value_min), max(p.value_max))
      end as percentiles
    from parts as p
    where p_groups or p.part = 't'
    group by p.bucket, p.part, p.group_key
  )
  select
    case f.part when 'g' then 'group' when 'm' then 'missing' when 'o' then 'other' else 'total' end,
    case when f.part = 'g' then f.group_key end,
    tally.local_date(v_boundaries[f.bucket], v_zone),
    v_boundaries[f.bucket],
    v_boundaries[f.bucket + 1],
    f.event_count,
    f.value_count,
    f.value_sum,
    f.value_min,
    f.value_max,
    f.value_errors,
    f.unique_count,
    f.final,
    case when f.final then f.final_at else now() end,
    f.revision,
    case when f.part = 'g' then coalesce(b.bound, 0) - f.known_bound else 0 end::bigint,
    f.percentiles[1],
    f.percentiles[2],
    f.percentiles[3]
  from figures as f
  left join bounds as b on b.bucket = f.bucket
  order by f.bucket, array_position('{g,m,o,t}'::"char"[], f.part), f.event_count desc, f.group_key
  limit 100001;
  get diagnostics v_rows = row_count;
  if v_rows > 100000 then
    raise exception using
      errcode = 'TY400', column = 'p_from', message = 'periods times groups is more than 100,000',
      hint = 'Choose a shorter range or totals only.';
  end if;
end
$$;
alter function api.meter_summary_list owner to tally_tenant;
revoke all on function api.meter_summary_list from public;
grant execute on function api.meter_summary_list to tally_service, tally_owner;
comment on function api.meter_summary_list is
  'The days, weeks or months of a meter that begin from p_from until before p_to, or the one that holds p_period_start, by group, with final, as_of and revision; error_bound tells how many events a group may have more. TY400 for bad arguments, TY404, TY409 where the meter is not filled yet.';
