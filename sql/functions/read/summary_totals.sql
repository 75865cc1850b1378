-- The same totals as tally.raw_totals, from summary rows of one period type plus the deltas not yet
-- folded: what verify and finalize compare. The range must begin and end at periods of that type.
-- Cost: one scan of the primary key over the rows of the range, plus the waiting deltas.
create function tally.summary_totals(
  p_tenant uuid,
  p_period_type text,
  p_from timestamptz,
  p_to timestamptz,
  p_boundaries timestamptz[],
  p_by_type boolean
)
returns table (
  bucket integer, event_type text, event_count bigint, value_count bigint,
  value_sum numeric, value_min numeric, value_max numeric, actors public.hll
)
language plpgsql stable
set search_path = ''
-- As in tally.event_totals.
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
  v_kind "char" := case
    when not p_by_type and p_period_type <> 'quarter_hour' then 'all'
    else 'event_type'
  end;
begin
  return query
  select
    width_bucket(r.starts_at, (select p_boundaries)),
    case when p_by_type then r.event_type end,
    sum(r.event_count)::bigint,
    sum(r.value_count)::bigint,
    sum(r.value_sum),
    min(r.value_min),
    max(r.value_max),
    public.hll_union_agg(r.actors)
  from (
    select
      s.period_start as starts_at, s.event_type, s.event_count, s.value_count, s.value_sum,
      s.value_min, s.value_max, s.actors
    from tally.summaries as s
    where s.tenant_id = p_tenant
      and s.period_type = p_period_type::"char"
      and s.period_start >= p_from
      and s.period_start < p_to
      and s.kind = v_kind
    union all
    select
      d.quarter_hour, d.event_type, sum(d.event_count)::bigint, sum(d.value_count)::bigint,
      sum(d.value_sum), min(d.value_min), max(d.value_max),
      tally.hashes_hll(string_agg(d.actor_hashes, ''))
    from tally.summary_deltas as d
    where d.tenant_id = p_tenant
      and d.quarter_hour >= p_from
      and d.quarter_hour < p_to
    group by d.quarter_hour, d.event_type
  ) as r
  group by 1, 2
  having sum(r.event_count) > 0;
end
$$;
alter function tally.summary_totals owner to tally_owner;
revoke all on function tally.summary_totals from public;
comment on function tally.summary_totals is
  'Totals of a range of whole periods from summary rows and the deltas not yet folded.';
