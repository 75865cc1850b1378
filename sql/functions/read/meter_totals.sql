-- Totals of a meter by bucket and group, from its rows of one period type plus the deltas not yet
-- folded. The range must begin and end at periods of that type. Part is g, m or o; largest_group
-- bounds what one group may have in `other`. A question about the total reads the rows of part t.
create function tally.meter_totals(
  p_tenant uuid,
  p_meter uuid,
  p_period_type text,
  p_from timestamptz,
  p_to timestamptz,
  p_boundaries timestamptz[],
  p_with_groups boolean,
  p_measure text
)
returns table (
  bucket integer, part "char", group_key text[], event_count bigint, value_count bigint,
  value_sum numeric, value_min numeric, value_max numeric, value_errors bigint, uniques public.hll,
  picked numeric, largest_group bigint, value_histogram bytea
)
language plpgsql stable
set search_path = ''
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
  v_parts "char"[] := case when p_with_groups then array['g', 'm', 'o'] else array['t'] end;
  v_with_percentiles boolean := p_measure in ('p50', 'p90', 'p99');
  v_with_values boolean := p_measure in ('sum', 'avg', 'min', 'max') or v_with_percentiles;
  v_with_unique boolean := p_measure in ('unique', 'uniqueActors');
begin
  return query
  select
    width_bucket(r.starts_at, p_boundaries),
    r.part,
    case when r.part = 'g' then r.group_key end,
    sum(r.event_count)::bigint,
    (sum(r.value_count) filter (where v_with_values))::bigint,
    sum(r.value_sum) filter (where v_with_values),
    min(r.value_min) filter (where v_with_values),
    max(r.value_max) filter (where v_with_values),
    (sum(r.value_errors) filter (where v_with_values))::bigint,
    public.hll_union_agg(r.uniques) filter (where v_with_unique),
    null::numeric,
    sum(r.largest_group)::bigint,
    -- Compact here, since it is read several times from here on.
    tally.histogram_compact(string_agg(r.value_histogram, '') filter (where v_with_percentiles))
  from (
    select
      s.period_start as starts_at,
      case s.part when 't' then 'g' else s.part end as part,
      s.group_key, s.event_count, s.value_count, s.value_sum, s.value_min, s.value_max,
      s.value_errors, s.uniques, s.largest_group, s.value_histogram
    from tally.meter_summaries as s
    where s.tenant_id = p_tenant
      and s.meter_id = p_meter
      and s.period_type = p_period_type::"char"
      and s.part = any (v_parts)
      and s.period_start >= p_from
      and s.period_start < p_to
    union all
    select
      d.quarter_hour,
      case when e.group_key is null and p_with_groups then 'm' else 'g' end::"char",
      case when p_with_groups then e.group_key else '{}' end,
      e.event_count, e.value_count, e.value_sum, e.value_min, e.value_max, e.value_errors,
      case when v_with_unique then tally.hashes_hll(e.unique_hashes) end, 0,
      e.value_histogram
    from tally.meter_deltas as d
    cross join lateral unnest(d.entries) as e
    where d.tenant_id = p_tenant
      and d.meter_id = p_meter
      and d.quarter_hour >= p_from
      and d.quarter_hour < p_to
  ) as r
  group by 1, r.part, r.group_key
  having sum(r.event_count) > 0;
end
$$;
alter function tally.meter_totals owner to tally_owner;
revoke all on function tally.meter_totals from public;
grant execute on function tally.meter_totals to tally_tenant;
comment on function tally.meter_totals is
  'Totals of a meter by bucket and group over whole periods, from its rows and the deltas not yet folded. A bucket and part may come in several rows: add them.';
