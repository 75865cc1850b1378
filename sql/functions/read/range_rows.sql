-- The rows that answer a range, cut into parts by tally.range_parts: summaries, waiting deltas by
-- quarter hour, raw events at the edges. With p_all and no types, days and months come as rows of all
-- types. unique_actors is what the sketch of a final row amounts to, where that is known. Inlined
-- into the statement that calls it, which must name no column that it does not need: that is not
-- computed then. `offset 0` keeps one scan of the key a part, so that no plan reads all rows to join
-- them with the parts. Up to four types are looked for in the index; more are picked out of the rows.
create function tally.range_rows(
  p_tenant uuid, p_parts timestamptz[], p_types text[], p_all boolean, p_with_actors boolean
)
returns table (
  starts_at timestamptz, event_type text, event_count bigint, value_count bigint,
  value_sum numeric, value_min numeric, value_max numeric, actors public.hll, unique_actors bigint
)
language sql stable
as $$
  select
    r.period_start, r.event_type, r.event_count, r.value_count, r.value_sum, r.value_min,
    r.value_max, r.actors, case when r.final_at is not null then r.unique_actors end
  from unnest('{q,d,m,d,q}'::"char"[], p_parts[2:6], p_parts[3:7]) as p (source, part_from, part_to)
  cross join lateral (
    select s.*
    from tally.summaries as s
    where s.tenant_id = p_tenant
      and s.period_type = p.source
      and s.kind = case
        when p_all and p_types = '{}' and p.source <> 'q'::"char" then 'a'::"char" else 'e'::"char" end
      and s.period_start >= p.part_from
      and s.period_start < p.part_to
      and s.event_count > 0
    offset 0
  ) as r
  where cardinality(p_types) not between 1 and 4
    and p.part_from < p.part_to
    and (p_types = '{}' or r.event_type = any (p_types))
  union all
  select
    r.period_start, r.event_type, r.event_count, r.value_count, r.value_sum, r.value_min,
    r.value_max, r.actors, case when r.final_at is not null then r.unique_actors end
  from unnest('{q,d,m,d,q}'::"char"[], p_parts[2:6], p_parts[3:7]) as p (source, part_from, part_to)
  cross join (select distinct n.event_type from unnest(p_types) as n (event_type)) as t
  cross join lateral (
    select s.*
    from tally.summaries as s
    where s.tenant_id = p_tenant
      and s.period_type = p.source
      and s.kind = 'e'::"char"
      and s.period_start >= p.part_from
      and s.period_start < p.part_to
      and s.event_type = t.event_type
      and s.event_count > 0
    offset 0
  ) as r
  where cardinality(p_types) between 1 and 4
    and p.part_from < p.part_to
  union all
  select
    d.quarter_hour, d.event_type, sum(d.event_count)::bigint, sum(d.value_count)::bigint,
    sum(d.value_sum), min(d.value_min), max(d.value_max),
    tally.hashes_hll(string_agg(d.actor_hashes, '')), null
  from tally.summary_deltas as d
  where d.tenant_id = p_tenant
    and d.quarter_hour >= (select p_parts[2])
    and d.quarter_hour < (select p_parts[7])
    and (p_types = '{}' or d.event_type = any (p_types))
  group by d.quarter_hour, d.event_type
  union all
  select
    e.first_at, e.event_type, e.event_count, e.value_count, e.value_sum, e.value_min, e.value_max,
    e.actors, null
  from (values (p_parts[1], p_parts[2]), (p_parts[7], p_parts[8])) as p (part_from, part_to)
  cross join lateral tally.edge_totals(p_tenant, p.part_from, p.part_to, p_types, p_with_actors) as e
  where p.part_from < p.part_to
$$;
alter function tally.range_rows owner to tally_owner;
revoke all on function tally.range_rows from public;
grant execute on function tally.range_rows to tally_tenant, tally_bi;
comment on function tally.range_rows is
  'Summaries, waiting deltas and totals of raw events that together are the events of a range, of some types or of all.';
