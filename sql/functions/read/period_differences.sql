-- Compares summaries and deltas with raw events, both as one snapshot sees them: a row for each
-- period and event type that differs, with event_type NULL where the row of all types does. Finds
-- nothing unless something is wrong.
create function tally.period_differences(
  p_tenant uuid, p_period_type text, p_boundaries timestamptz[]
)
returns table (
  period_type text, period_start timestamptz, event_type text,
  raw_count bigint, summary_count bigint, raw_sum numeric, summary_sum numeric, detail text
)
language plpgsql stable strict
set search_path = ''
as $$
declare
  v_from timestamptz := p_boundaries[1];
  v_to timestamptz := p_boundaries[cardinality(p_boundaries)];
begin
  return query
  with by_type as materialized (
    select *
    from tally.raw_totals(p_tenant, v_from, v_to, p_boundaries, '{}', true, true, true)
  ),
  raw as (
    select *
    from by_type
    union all
    select
      t.bucket, '', sum(t.event_count)::bigint, sum(t.value_count)::bigint, sum(t.value_sum),
      min(t.value_min), max(t.value_max), public.hll_union_agg(t.actors)
    from by_type as t
    where p_period_type <> 'quarter_hour'
    group by t.bucket
  ),
  summed as (
    select *
    from tally.summary_totals(
      p_tenant, p_period_type, v_from, v_to, p_boundaries, true)
    union all
    select
      t.bucket, '', t.event_count, t.value_count, t.value_sum, t.value_min, t.value_max, t.actors
    from tally.summary_totals(
      p_tenant, p_period_type, v_from, v_to, p_boundaries, false) as t
    where p_period_type <> 'quarter_hour'
  )
  select
    p_period_type, p_boundaries[coalesce(r.bucket, s.bucket)],
    nullif(coalesce(r.event_type, s.event_type), ''),
    coalesce(r.event_count, 0), coalesce(s.event_count, 0), r.value_sum, s.value_sum,
    case
      when s.bucket is null then 'no summary'
      when r.bucket is null then 'no events'
      when r.event_count <> s.event_count then 'event_count'
      when r.value_count <> s.value_count or r.value_sum is distinct from s.value_sum then 'value'
      when r.value_min is distinct from s.value_min or r.value_max is distinct from s.value_max
        then 'value range'
      else 'actors'
    end
  from raw as r
  full join summed as s on s.bucket = r.bucket and s.event_type = r.event_type
  where (r.event_count, r.value_count, r.value_sum, r.value_min, r.value_max)
      is distinct from (s.event_count, s.value_count, s.value_sum, s.value_min, s.value_max)
    or r.actors is null <> (s.actors is null)
    or r.actors operator(public.<>) s.actors;
end
$$;
alter function tally.period_differences owner to tally_owner;
revoke all on function tally.period_differences from public;
comment on function tally.period_differences is
  'The periods and event types whose summaries plus deltas differ from the raw events, as one snapshot sees both.';
