-- One measure of a range by bucket, and by type if asked: the one way from a range to an answer that
-- all api functions share. Bucket n lies between boundaries n and n + 1; one without events has no
-- row. The whole answer is of one snapshot, that of the calling statement, because this function is
-- stable. Filters on data or actor read raw events, or a meter that counts the same.
create function tally.event_totals(
  p_tenant tally.tenant_context,
  p_boundaries timestamptz[],
  p_coarsest text,
  p_types text[],
  p_by_type boolean,
  p_measure text,
  p_filters jsonb default '[]',
  p_actor text default ''
)
returns table (bucket integer, event_type text, total numeric)
language plpgsql stable strict
set search_path = ''
-- The keys serve every range and tenant, so a plan for the one at hand costs 0.3 ms and is the same;
-- and one made while a table is small must not read all of it later, nor start workers,
-- nor sort deltas, of which many more may wait than the planner thinks: hashed they take a quarter.
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_sort = off
set max_parallel_workers_per_gather = 0
as $$
declare
  v_id uuid := p_tenant.tenant_id;
  v_from timestamptz := p_boundaries[1];
  v_to timestamptz := p_boundaries[cardinality(p_boundaries)];
  v_parts timestamptz[] := tally.range_parts(p_tenant, v_from, v_to, p_coarsest);
  v_question tally.question;
begin
  if p_filters <> '[]' and p_actor = '' and not p_by_type and p_tenant.meter_count > 0 then
    v_question := tally.question(p_types, p_filters, '', '{}', 'value', 'actorId', p_measure);
    if tally.question_source(p_tenant, v_question) <> 'events' then
      return query
      select
        g.bucket, null::text,
        tally.group_measure(
          p_measure, sum(g.event_count)::bigint, sum(g.value_count)::bigint, sum(g.value_sum),
          min(g.value_min), max(g.value_max), public.hll_union_agg(g.uniques), null)
      from tally.group_totals(p_tenant, p_boundaries, p_coarsest, v_question) as g
      group by g.bucket;
      return;
    end if;
  end if;
  if p_filters <> '[]' or p_actor <> '' then
    if v_from < p_tenant.events_kept_from and v_from < v_to then
      raise exception using
        errcode = 'TY400', column = 'p_from',
        message = format('filters on data or actor read raw events, which are kept from %s on',
          to_json(p_tenant.events_kept_from));
    end if;
    return query
    select
      t.bucket, t.event_type,
      tally.measure(
        p_measure, t.event_count, t.value_count, t.value_sum, t.value_min, t.value_max,
        round(public.hll_cardinality(t.actors))::bigint)
    from tally.raw_totals(
      v_id, v_from, v_to, p_boundaries, p_types, p_by_type,
      p_measure not in ('count', 'uniqueActors'), p_measure = 'uniqueActors',
      case when p_filters <> '[]' then tally.filter_path(p_filters) end, nullif(p_actor, '')) as t;
  elsif p_measure = 'uniqueActors' then
    return query
    select a.bucket, a.event_type, a.total
    from tally.actor_totals(v_id, v_parts, p_boundaries, p_types, p_by_type) as a;
  -- Few types have a statement of their own, since each costs what its plan has to prepare.
  elsif cardinality(p_types) between 1 and 4 then
    return query
    select
      r.bucket, r.event_type,
      tally.measure(
        p_measure, sum(r.event_count)::bigint, sum(r.value_count)::bigint, sum(r.value_sum),
        min(r.value_min), max(r.value_max), null)
    from (
      select
        -- Through a sub-select the array is unfolded once, not for each row.
        width_bucket(t.starts_at, (select p_boundaries)) as bucket,
        case when p_by_type then t.event_type end as event_type,
        t.event_count,
        case when p_measure <> 'count' then t.value_count end as value_count,
        case when p_measure <> 'count' then t.value_sum end as value_sum,
        case when p_measure <> 'count' then t.value_min end as value_min,
        case when p_measure <> 'count' then t.value_max end as value_max
      from tally.range_rows_of(v_id, v_parts, p_types, false) as t
    ) as r
    group by r.bucket, r.event_type;
  else
    return query
    select
      r.bucket, r.event_type,
      tally.measure(
        p_measure, sum(r.event_count)::bigint, sum(r.value_count)::bigint, sum(r.value_sum),
        min(r.value_min), max(r.value_max), null)
    from (
      select
        -- Through a sub-select the array is unfolded once, not for each row.
        width_bucket(t.starts_at, (select p_boundaries)) as bucket,
        case when p_by_type then t.event_type end as event_type,
        t.event_count,
        case when p_measure <> 'count' then t.value_count end as value_count,
        case when p_measure <> 'count' then t.value_sum end as value_sum,
        case when p_measure <> 'count' then t.value_min end as value_min,
        case when p_measure <> 'count' then t.value_max end as value_max
      from tally.range_rows(v_id, v_parts, p_types, not p_by_type, false) as t
    ) as r
    group by r.bucket, r.event_type;
  end if;
end
$$;
alter function tally.event_totals owner to tally_owner;
revoke all on function tally.event_totals from public;
grant execute on function tally.event_totals to tally_tenant, tally_bi;
comment on function tally.event_totals is
  'One measure of a range by bucket and optionally type, from the coarsest rows that fit.';
