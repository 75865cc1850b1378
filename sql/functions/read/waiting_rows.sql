-- What waits to be folded and what lies at the edges of a range, cut into parts by tally.range_parts, by
-- quarter hour and type: deltas, and raw events. Inlined.
create function tally.waiting_rows(
  p_tenant uuid, p_parts timestamptz[], p_types text[], p_with_actors boolean
)
returns table (
  starts_at timestamptz, event_type text, event_count bigint, value_count bigint,
  value_sum numeric, value_min numeric, value_max numeric, actors public.hll, unique_actors bigint
)
language sql stable
as $$
  select
    d.quarter_hour, d.event_type, sum(d.event_count)::bigint, sum(d.value_count)::bigint,
    sum(d.value_sum), min(d.value_min), max(d.value_max),
    tally.hashes_hll(string_agg(d.actor_hashes, '')), null::bigint
  from tally.waiting_deltas(p_tenant, p_parts, p_types) as d
  group by d.quarter_hour, d.event_type
  union all
  select
    e.first_at, e.event_type, e.event_count, e.value_count, e.value_sum, e.value_min, e.value_max,
    e.actors, null
  from tally.edge_totals(p_tenant, p_parts, p_types, p_with_actors) as e
$$;
alter function tally.waiting_rows owner to tally_owner;
revoke all on function tally.waiting_rows from public;
grant execute on function tally.waiting_rows to tally_tenant, tally_bi;
comment on function tally.waiting_rows is
  'The deltas that wait in a range, and the raw events at its edges, by quarter hour and type.';
