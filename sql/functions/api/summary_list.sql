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
set plan_cache_mode = force_custom_plan
as $$
declare
  v_tenant tally.tenant_context := tally.tenant_set_current(p_tenant);
  v_zone text := v_tenant.time_zone;
  v_range record := tally.summary_range(v_tenant, p_period_type, p_from, p_to, p_period_start);
  v_from timestamptz := tally.day_start(v_range.first_on, v_zone);
  v_to timestamptz := tally.day_start(v_range.end_on, v_zone);
  v_finalized_to timestamptz := tally.finalized_to(v_tenant, p_period_type);
  v_starts timestamptz[];
  v_boundaries timestamptz[];
  v_rows bigint;
begin
  perform tally.check_query(v_tenant, v_from, v_to, p_measure);
  if v_from = v_to then
    return;
  end if;
  select b.starts, b.boundaries into v_starts, v_boundaries
  from tally.timeline_buckets(v_from, v_to, p_period_type, v_zone, v_tenant.week_start) as b;
  return query
  with late as materialized (
    select
      width_bucket(d.quarter_hour, v_boundaries) as bucket, d.event_type,
      tally.hashes_hll(string_agg(d.actor_hashes, '')) as actors
    from tally.summary_deltas as d
    where d.tenant_id = p_tenant
      and d.quarter_hour >= v_from
      and d.quarter_hour < v_to
      and (p_event_type = '' or d.event_type = p_event_type)
    group by 1, 2
  )
  select
    m.event_type,
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
    case when p_event_type = '' then '{}' else array[p_event_type] end, true, true, false) as t
    on t.bucket = b.bucket
  cross join lateral (select coalesce(t.event_type, nullif(p_event_type, '')) as event_type) as m
  left join tally.summaries as s
    on s.tenant_id = p_tenant
    and s.period_type = p_period_type::"char"
    and s.kind = 'event_type'::"char"
    and s.period_start = b.starts_at
    and (p_event_type = '' or s.event_type = p_event_type)
    and s.event_type = m.event_type
  left join late as l on l.bucket = b.bucket and l.event_type = m.event_type
  cross join lateral (
    select
      -- Here, not in summary_totals: merging the sketches of a group takes more than twice as long.
      coalesce(public.hll_union(s.actors, l.actors), s.actors, l.actors) as actors,
      case when s.event_type is null then v_boundaries[b.bucket + 1] <= v_finalized_to
        else s.final_at is not null end
      and l.bucket is null as final
  ) as f
  where m.event_type is not null
  order by b.bucket, m.event_type
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
