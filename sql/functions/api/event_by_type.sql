-- The same measure for each event type, largest first, at most 1,000 types. Costs what event_count
-- costs, plus a row for each type and period.
create function api.event_by_type(
  p_tenant uuid,
  p_from text default '-infinity',
  p_to text default 'infinity',
  p_types text[] default '{}',
  p_measure text default 'count',
  p_filters jsonb default '[]',
  p_actor text default '',
  p_time_zone text default ''
)
returns table (
  event_type text, total numeric, resolved_from timestamptz, resolved_to timestamptz
)
language plpgsql stable strict security definer
set search_path = ''
as $$
declare
  v_tenant tally.tenant_context := tally.tenant_set_current(p_tenant);
  v_zone text := tally.query_zone(v_tenant, p_time_zone);
  v_asked_from timestamptz := tally.range_end(p_from, v_zone, 'p_from');
  v_asked_to timestamptz := tally.range_end(p_to, v_zone, 'p_to');
  v_range record := tally.check_query(v_tenant, v_asked_from, v_asked_to, p_measure);
  v_from timestamptz := v_range.resolved_from;
  v_to timestamptz := v_range.resolved_to;
begin
  return query
  select
    t.event_type,
    t.total,
    case when v_from <> v_asked_from then v_from end,
    case when isfinite(v_to) and v_to <> v_asked_to then v_to end
  from tally.event_totals(
    v_tenant, array[v_from, v_to], 'month', p_types, true, p_measure,
    p_filters, p_actor) as t
  order by t.total desc nulls last, t.event_type
  limit 1000;
end
$$;
alter function api.event_by_type owner to tally_tenant;
revoke all on function api.event_by_type from public;
grant execute on function api.event_by_type to tally_service, tally_owner;
comment on function api.event_by_type is
  'One measure of each event type in a range, largest first, at most 1,000. TY400 for bad arguments.';
