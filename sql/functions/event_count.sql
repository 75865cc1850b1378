-- How many events, or another measure of them, in a range? Answers from month, day and quarter-hour
-- rows with raw events at the ragged edges, so it costs milliseconds whatever the number of events;
-- filters on data or actor read raw events. Exact at the moment of the call.
create function api.event_count(
  p_tenant uuid,
  p_from timestamptz default '-infinity',
  p_to timestamptz default 'infinity',
  p_types text[] default '{}',
  p_measure text default 'count',
  p_filters jsonb default '[]',
  p_actor text default ''
)
returns table (total numeric, resolved_from timestamptz, resolved_to timestamptz)
language plpgsql stable strict security definer
set search_path = ''
as $$
declare
  v_tenant tally.tenants := tally.act_for(p_tenant);
  v_from timestamptz;
  v_to timestamptz;
begin
  select * into v_from, v_to from tally.check_query(v_tenant, p_from, p_to, p_measure);
  return query
  select
    tally.measure(
      p_measure, sum(t.event_count)::bigint, sum(t.value_count)::bigint, sum(t.value_sum),
      min(t.value_min), max(t.value_max), public.hll_union_agg(t.actors)),
    case when v_from <> p_from then v_from end,
    case when isfinite(v_to) and v_to <> p_to then v_to end
  from tally.event_totals(
    v_tenant, array[v_from, v_to], 'month', p_types, false, p_measure,
    p_filters, p_actor) as t;
end
$$;
alter function api.event_count owner to tally_tenant;
revoke all on function api.event_count from public;
grant execute on function api.event_count to tally_service, tally_owner;
comment on function api.event_count is
  'One measure (count, uniqueActors, sum, avg, min, max) of the events of a half-open range. Ranges may be open: -infinity, infinity. TY400 for bad arguments.';
