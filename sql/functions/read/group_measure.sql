-- Reads one measure off totals of events, percentiles off their histogram.
create function tally.group_measure(
  p_measure text, p_event_count bigint, p_value_count bigint, p_value_sum numeric,
  p_value_min numeric, p_value_max numeric, p_uniques public.hll, p_histogram bytea
)
returns numeric
language plpgsql immutable
set search_path = ''
as $$
begin
  return case
    when p_measure in ('p50', 'p90', 'p99') then (tally.histogram_percentiles(
      p_histogram, array[substr(p_measure, 2)::float8 / 100], p_value_min, p_value_max))[1]
    when p_measure = 'unique' then
      coalesce(round(public.hll_cardinality(p_uniques))::numeric, 0)
    else tally.measure(
      p_measure, p_event_count, p_value_count, p_value_sum, p_value_min, p_value_max,
      round(public.hll_cardinality(p_uniques))::bigint)
  end;
end
$$;
alter function tally.group_measure owner to tally_owner;
revoke all on function tally.group_measure from public;
grant execute on function tally.group_measure to tally_tenant;
comment on function tally.group_measure is 'One of tally.property_measures, off totals.';
