-- The checks that all questions share, and the range that can be answered: an edge that needs rows
-- which retention has removed snaps outward to whole quarter hours or days.
create function tally.check_query(
  p_tenant tally.tenant_context, p_from timestamptz, p_to timestamptz, p_measure text,
  out resolved_from timestamptz, out resolved_to timestamptz
)
language plpgsql stable strict
set search_path = ''
as $$
declare
  v_zone text;
  v_week_start integer;
begin
  if p_from > p_to then
    raise exception using
      errcode = 'TY400', column = 'p_from',
      message = format('from %s is after to %s', to_json(p_from), to_json(p_to)),
      hint = 'A range holds from and ends before to.';
  elsif p_measure <> all (tally.measures()) then
    raise exception using
      errcode = 'TY400', column = 'p_measure',
      message = format('unknown measure %s', to_json(left(p_measure, 64))),
      hint = format('Use one of %s.', array_to_string(tally.measures(), ', '));
  end if;
  resolved_from := p_from;
  -- Nothing can lie more than an hour ahead, so such an end needs no ragged edge.
  resolved_to := case when p_to > now() + interval '1 hour' then 'infinity' else p_to end;
  if p_from = p_to
    or p_from >= p_tenant.events_kept_from and p_from >= p_tenant.quarter_hours_kept_from
  then
    return;
  end if;
  v_zone := p_tenant.time_zone;
  v_week_start := p_tenant.week_start;
  if resolved_from < p_tenant.quarter_hours_kept_from then
    resolved_from := tally.period_start(resolved_from, 'day', v_zone, v_week_start);
  elsif resolved_from < p_tenant.events_kept_from then
    resolved_from := tally.period_start(resolved_from, 'quarter_hour', v_zone, v_week_start);
  end if;
  if resolved_to < p_tenant.quarter_hours_kept_from then
    resolved_to := tally.period_ceiling(resolved_to, 'day', v_zone, v_week_start);
  elsif resolved_to < p_tenant.events_kept_from then
    resolved_to := tally.period_ceiling(resolved_to, 'quarter_hour', v_zone, v_week_start);
  end if;
end
$$;
alter function tally.check_query owner to tally_owner;
revoke all on function tally.check_query from public;
grant execute on function tally.check_query to tally_tenant, tally_bi;
comment on function tally.check_query is
  'Checks range and measure (TY400) and returns the range that can be answered after retention.';
