-- tally.range_rows of up to four named types. Inlined.
create function tally.range_rows_of(
  p_tenant uuid, p_parts timestamptz[], p_types text[], p_with_actors boolean
)
returns table (
  starts_at timestamptz, event_type text, event_count bigint, value_count bigint,
  value_sum numeric, value_min numeric, value_max numeric, actors public.hll, unique_actors bigint
)
language sql stable
as $$
  select * from tally.summary_rows_of(p_tenant, p_parts, p_types)
  union all
  select * from tally.waiting_rows(p_tenant, p_parts, p_types, p_with_actors)
$$;
alter function tally.range_rows_of owner to tally_owner;
revoke all on function tally.range_rows_of from public;
grant execute on function tally.range_rows_of to tally_tenant, tally_bi;
comment on function tally.range_rows_of is
  'Summaries, waiting deltas and totals of raw events that together are the events of few types in a range.';
