-- Reads one measure off totals. Inlined into the statement that calls it: so not strict, without a
-- search path of its own, each name qualified.
create function tally.measure(
  p_measure text, p_event_count bigint, p_value_count bigint, p_value_sum numeric,
  p_value_min numeric, p_value_max numeric, p_unique_actors bigint
)
returns numeric
language sql immutable
as $$
  select case p_measure
    when 'count' then coalesce(p_event_count, 0)
    when 'sum' then coalesce(p_value_sum, 0)
    when 'avg' then p_value_sum / nullif(p_value_count, 0)
    when 'min' then p_value_min
    when 'max' then p_value_max
    when 'uniqueActors' then coalesce(p_unique_actors, 0)
  end
$$;
alter function tally.measure owner to tally_owner;
revoke all on function tally.measure from public;
grant execute on function tally.measure to tally_tenant, tally_bi;
comment on function tally.measure is
  'One of count, sum, avg, min, max, uniqueActors. Without events count, sum and uniqueActors are 0, the others NULL.';
