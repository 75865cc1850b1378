-- The rows that answer a range, cut into parts by tally.range_parts: summaries, waiting deltas by
-- quarter hour, raw events at the edges. With p_all and no types, days and months come as rows of all
-- types. unique_actors is what the sketch of a final row amounts to, where that is known. Inlined
-- into the statement that calls it, which must name no column that it does not need: that is not
-- computed then. Of few types tally.range_rows_of finds the same faster.
create function tally.range_rows(
  p_tenant uuid, p_parts timestamptz[], p_types text[], p_all boolean, p_with_actors boolean
)
returns table (
  starts_at timestamptz, event_type text, event_count bigint, value_count bigint,
  value_sum numeric, value_min numeric, value_max numeric, actors public.hll, unique_actors bigint
)
language sql stable
as $$
  select * from tally.summary_rows(p_tenant, p_parts, p_types, p_all)
  union all
  select * from tally.waiting_rows(p_tenant, p_parts, p_types, p_with_actors)
$$;
alter function tally.range_rows owner to tally_owner;
revoke all on function tally.range_rows from public;
grant execute on function tally.range_rows to tally_tenant, tally_bi;
comment on function tally.range_rows is
  'Summaries, waiting deltas and totals of raw events that together are the events of a range, of some types or of all.';
