-- The range that a question about properties can be answered for: as tally.check_query, and to whole
-- days where groups come from a meter whose raw events are gone.
create function tally.question_range(
  p_tenant tally.tenant_context, p_question tally.question, p_from text, p_to text, p_zone text,
  out range_from timestamptz, out range_to timestamptz, out resolved_from timestamptz,
  out resolved_to timestamptz
)
language plpgsql stable strict
set search_path = ''
as $$
declare
  v_from timestamptz := tally.range_end(p_from, p_zone, 'p_from');
  v_to timestamptz := tally.range_end(p_to, p_zone, 'p_to');
begin
  select c.resolved_from, c.resolved_to into range_from, range_to
  from tally.check_query(p_tenant, v_from, v_to, 'count') as c;
  if v_from < v_to and not tally.is_plain(p_question) and p_question.dimensions <> '{}' then
    if range_from < p_tenant.events_kept_from then
      range_from := tally.period_start(range_from, 'day', p_tenant.time_zone, p_tenant.week_start);
    end if;
    if range_to < p_tenant.events_kept_from then
      range_to := tally.period_ceiling(range_to, 'day', p_tenant.time_zone, p_tenant.week_start);
    end if;
  end if;
  resolved_from := case when range_from <> v_from then range_from end;
  resolved_to := case when isfinite(range_to) and range_to <> v_to then range_to end;
end
$$;
alter function tally.question_range owner to tally_owner;
revoke all on function tally.question_range from public;
grant execute on function tally.question_range to tally_tenant;
comment on function tally.question_range is
  'The range that is answered, and its ends where they are not as asked. TY400 for bad ends.';
