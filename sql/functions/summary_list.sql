-- The summaries of the days, weeks or months that begin in a range of local dates (p_from included,
-- p_to not), one row a period and event type, at most 100,000, with what an invoice needs to know: whether the figure is final, the moment it
-- holds for, and its revision. For one metric, periods without events come as 0. Live: includes
-- what is not folded yet. Cost: a row a period and type.
create function api.summary_list(
  p_tenant uuid,
  p_period_type text,
  p_from date,
  p_to date,
  p_metric text default '',
  p_measure text default 'count'
)
returns table (
  metric text, period_on date, period_start timestamptz, period_end timestamptz, value numeric,
  event_count bigint, value_count bigint, value_sum numeric, value_min numeric, value_max numeric,
  unique_actors bigint, final boolean, as_of timestamptz, revision integer
)
language plpgsql stable strict security definer
set search_path = ''
set plan_cache_mode = force_custom_plan
as $$
declare
  v_tenant tally.tenants := tally.act_for(p_tenant);
  v_zone text := v_tenant.time_zone;
  v_first date;
  v_from timestamptz;
  v_to timestamptz;
  v_finalized_to timestamptz;
  v_starts timestamptz[];
  v_boundaries timestamptz[];
  v_rows bigint;
begin
  if p_period_type not in ('day', 'week', 'month') then
    raise exception using
      errcode = 'TY400', column = 'periodType',
      message = format('unknown period type %s', to_json(left(p_period_type, 64))),
      hint = 'Use day, week or month.';
  elsif p_from < '1980-01-01' or p_to > '2200-01-01' then
    raise exception using
      errcode = 'TY400', column = 'from', message = 'periods lie between 1980-01-01 and 2200-01-01';
  end if;
  perform tally.check_query(
    v_tenant, tally.day_start(p_from, v_zone), tally.day_start(p_to, v_zone), p_measure);
  v_first := tally.first_date(p_from, p_period_type, v_tenant.week_start);
  if v_first < p_from then
    v_first := tally.next_date(v_first, p_period_type);
  end if;
  if v_first >= p_to then
    return;
  end if;
  v_from := tally.day_start(v_first, v_zone);
  v_to := tally.day_start(
    tally.next_date(tally.first_date(p_to - 1, p_period_type, v_tenant.week_start), p_period_type),
    v_zone);
  select b.starts, b.boundaries into v_starts, v_boundaries
  from tally.timeline_buckets(v_from, v_to, p_period_type, v_zone, v_tenant.week_start) as b;
  v_finalized_to := tally.finalized_to(v_tenant, p_period_type);
  return query
  with late as materialized (
    select
      width_bucket(d.quarter_hour, v_boundaries) as bucket, d.event_type,
      tally.hashes_hll(string_agg(d.actor_hashes, '')) as actors
    from tally.summary_deltas as d
    where d.tenant_id = p_tenant
      and d.quarter_hour >= v_from
      and d.quarter_hour < v_to
      and (p_metric = '' or d.event_type = p_metric)
    group by 1, 2
  )
  select
    m.metric,
    tally.local_date(b.starts_at, v_zone),
    b.starts_at,
    v_boundaries[b.bucket + 1],
    tally.measure(p_measure, t.event_count, t.value_count, t.value_sum, t.value_min, t.value_max, f.actors),
    coalesce(t.event_count, 0),
    coalesce(t.value_count, 0),
    t.value_sum,
    t.value_min,
    t.value_max,
    coalesce(round(public.hll_cardinality(f.actors)), 0)::bigint,
    f.final,
    case when f.final then coalesce(s.final_at, v_finalized_to) else now() end,
    coalesce(s.revision, 1)
  from unnest(v_starts) with ordinality as b (starts_at, bucket)
  left join tally.summary_totals(
    p_tenant, p_period_type, v_from, v_to, v_boundaries,
    case when p_metric = '' then '{}' else array[p_metric] end, true, true, false) as t
    on t.bucket = b.bucket
  cross join lateral (select coalesce(t.event_type, nullif(p_metric, '')) as metric) as m
  left join tally.summaries as s
    on s.tenant_id = p_tenant
    and s.period_type = p_period_type
    and s.period_start = b.starts_at
    and s.metric_kind = 'event_type'
    and (p_metric = '' or s.metric = p_metric)
    and s.metric = m.metric
  left join late as l on l.bucket = b.bucket and l.event_type = m.metric
  cross join lateral (
    select
      -- Here, not in summary_totals: merging the sketches of a group takes more than twice as long.
      coalesce(public.hll_union(s.actors, l.actors), s.actors, l.actors) as actors,
      case when s.metric is null then v_boundaries[b.bucket + 1] <= v_finalized_to
        else s.final_at is not null end
      and l.bucket is null as final
  ) as f
  where m.metric is not null
  order by b.bucket, m.metric
  limit 100001;
  get diagnostics v_rows = row_count;
  if v_rows > 100000 then
    raise exception using
      errcode = 'TY400', column = 'from', message = 'periods times event types is more than 100,000',
      hint = 'Choose a shorter range or one metric.';
  end if;
end
$$;
alter function api.summary_list owner to tally_tenant;
revoke all on function api.summary_list from public;
grant execute on function api.summary_list to tally_service, tally_owner;
comment on function api.summary_list is
  'The days, weeks or months that begin from p_from until before p_to (local dates), with totals, final, as_of and revision. TY400 for bad arguments.';
