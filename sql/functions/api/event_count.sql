-- How many events, or another measure of them, in a range? Answers from month, day and quarter-hour
-- rows with raw events at the ragged edges, so it costs milliseconds whatever the number of events;
-- filters on data or actor read raw events, those on data not where a meter counts the same. Exact at
-- the moment of the call.
create function api.event_count(
  p_tenant uuid,
  p_from text default '-infinity',
  p_to text default 'infinity',
  p_types text[] default '{}',
  p_measure text default 'count',
  p_filters jsonb default '[]',
  p_actor text default '',
  p_time_zone text default '',
  p_compare boolean default false
)
returns table (
  total numeric, resolved_from timestamptz, resolved_to timestamptz, previous_total numeric,
  previous_from timestamptz, previous_to timestamptz
)
language plpgsql stable strict security definer
set search_path = ''
as $$
declare
  v_tenant tally.tenant_context := tally.tenant_set_current(p_tenant);
  v_zone text := tally.query_zone(v_tenant, p_time_zone);
  v_from timestamptz := tally.range_end(p_from, v_zone, 'p_from');
  v_to timestamptz := tally.range_end(p_to, v_zone, 'p_to');
  v_now record;
  v_before record;
begin
  v_now := tally.range_total(v_tenant, v_from, v_to, p_types, p_measure, p_filters, p_actor);
  total := v_now.total;
  resolved_from := v_now.resolved_from;
  resolved_to := v_now.resolved_to;
  if p_compare then
    v_before := tally.range_previous(v_from, v_to, v_zone);
    previous_from := v_before.previous_from;
    previous_to := v_before.previous_to;
    v_before := tally.range_total(
      v_tenant, previous_from, previous_to, p_types, p_measure, p_filters, p_actor);
    previous_total := v_before.total;
  end if;
  return next;
end
$$;
alter function api.event_count owner to tally_tenant;
revoke all on function api.event_count from public;
grant execute on function api.event_count to tally_service, tally_owner;
comment on function api.event_count is
  'One measure (tally.measures) of the events of a half-open range, and with p_compare of the range before. An end is a date (local midnight), an RFC 3339 time, or infinity. resolved_from and resolved_to tell where retention made the range wider than asked. TY400 for bad arguments.';
