-- The summaries of the days, weeks or months that begin in a range of local dates (p_from included,
-- p_to not), or of the one period that holds p_period_start: one row a period and event type, at most
-- 100,000, with what an invoice needs to know: whether the figure is final, the moment it holds for,
-- and its revision. For one event type, periods without events come as 0. Live: includes what is not
-- folded yet. Cost: a row a period and type.
create function api.summary_list(
  p_tenant uuid,
  p_period_type text,
  p_from text default '',
  p_to text default '',
  p_event_type text default '',
  p_measure text default 'count',
  p_period_start text default ''
)
returns table (
  event_type text, period_on date, period_start timestamptz, period_end timestamptz, value numeric,
  event_count bigint, value_count bigint, value_sum numeric, value_min numeric, value_max numeric,
  unique_actors bigint, final boolean, as_of timestamptz, revision integer
)
language plpgsql stable strict security definer
set search_path = ''
-- As in tally.event_totals.
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set max_parallel_workers_per_gather = 0
as $$
declare
  v_tenant tally.tenant_context := tally.tenant_set_current(p_tenant);
  v_zone text := v_tenant.time_zone;
  v_range record := tally.summary_range(v_tenant, p_period_type, p_from, p_to, p_period_start);
  v_from timestamptz := tally.day_start(v_range.first_on, v_zone);
  v_to timestamptz := tally.day_start(v_range.end_on, v_zone);
  v_finalized_to timestamptz := tally.finalized_to(v_tenant, p_period_type);
  v_asked text := nullif(p_event_type, '');
  v_buckets record := tally.check_query(v_tenant, v_from, v_to, p_measure);
  v_starts timestamptz[];
  v_days date[];
  v_boundaries timestamptz[];
  v_rows bigint;
begin
  if v_from = v_to then
    return;
  end if;
  v_buckets := tally.timeline_buckets(v_from, v_to, p_period_type, v_zone, v_tenant.week_start);
  v_starts := v_buckets.starts;
  v_days := v_buckets.days;
  v_boundaries := v_buckets.boundaries;
  return query
  with late as materialized (
    select
      width_bucket(d.quarter_hour, (select v_boundaries)) as bucket, d.event_type,
      sum(d.event_count)::bigint as event_count, sum(d.value_count)::bigint as value_count,
      sum(d.value_sum) as value_sum, min(d.value_min) as value_min, max(d.value_max) as value_max,
      tally.hashes_hll(string_agg(d.actor_hashes, '')) as actors
    from tally.summary_deltas as d
    where d.tenant_id = p_tenant
      and d.quarter_hour >= v_from
      and d.quarter_hour < v_to
      and (v_asked is null or d.event_type = v_asked)
    group by 1, 2
  ),
  stored as (
    select
      b.bucket::integer as bucket, s.event_type, s.event_count, s.value_count, s.value_sum, s.value_min, s.value_max,
      s.actors, s.final_at, s.unique_actors, s.revision
    from unnest(v_starts) with ordinality as b (starts_at, bucket)
    left join lateral (
      select *
      from tally.period_rows(p_tenant, p_period_type, b.starts_at, v_asked)
    ) as s on true
  )
  select
    f.event_type,
    v_days[f.bucket],
    v_starts[f.bucket],
    v_boundaries[f.bucket + 1],
    tally.measure(
      p_measure, f.event_count, f.value_count, f.value_sum, f.value_min, f.value_max, f.unique_actors),
    f.event_count,
    f.value_count,
    f.value_sum,
    f.value_min,
    f.value_max,
    f.unique_actors,
    f.final,
    case when f.final then coalesce(f.final_at, v_finalized_to) else now() end,
    coalesce(f.revision, 1)
  from (
    select
      coalesce(s.bucket, l.bucket) as bucket,
      coalesce(s.event_type, l.event_type, v_asked) as event_type,
      coalesce(s.event_count + l.event_count, s.event_count, l.event_count, 0) as event_count,
      coalesce(s.value_count + l.value_count, s.value_count, l.value_count, 0) as value_count,
      coalesce(s.value_sum + l.value_sum, s.value_sum, l.value_sum) as value_sum,
      least(s.value_min, l.value_min) as value_min,
      greatest(s.value_max, l.value_max) as value_max,
      case
        when l.bucket is null and s.final_at is not null and s.unique_actors is not null
          then s.unique_actors
        else coalesce(round(public.hll_cardinality(
          coalesce(public.hll_union(s.actors, l.actors), s.actors, l.actors))), 0)::bigint
      end as unique_actors,
      s.final_at,
      s.revision,
      l.bucket is null and case
        when s.event_type is null then v_boundaries[s.bucket + 1] <= v_finalized_to
        else s.final_at is not null
      end as final
    from stored as s
    full join late as l on l.bucket = s.bucket and l.event_type = coalesce(s.event_type, v_asked)
    offset 0
  ) as f
  where f.event_type is not null and (v_asked is not null or f.event_count > 0)
  order by f.bucket, f.event_type
  limit 100001;
  get diagnostics v_rows = row_count;
  if v_rows > 100000 then
    raise exception using
      errcode = 'TY400', column = 'p_from', message = 'periods times event types is more than 100,000',
      hint = 'Choose a shorter range or one event type.';
  end if;
end
$$;
alter function api.summary_list owner to tally_tenant;
revoke all on function api.summary_list from public;
grant execute on function api.summary_list to tally_service, tally_owner;
comment on function api.summary_list is
  'The days, weeks or months that begin from p_from until before p_to, or the one that holds p_period_start (dates or RFC 3339 times, in the tenant''s zone), with totals, final, as_of and revision. TY400 for bad arguments.';
