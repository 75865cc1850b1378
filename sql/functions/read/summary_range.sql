-- Which periods does a question about summaries mean? The local dates on which the first begins and
-- the last ends: those that begin from p_from until before p_to, or the one that holds p_period_start.
create function tally.summary_range(
  p_tenant tally.tenant_context, p_period_type text, p_from text, p_to text, p_period_start text,
  out first_on date, out end_on date
)
language plpgsql stable strict
set search_path = ''
as $$
declare
  v_zone text := p_tenant.time_zone;
  v_week_start integer := p_tenant.week_start;
  v_from date;
  v_to date;
  v_to_at timestamptz;
begin
  if p_period_type not in ('day', 'week', 'month') then
    raise exception using
      errcode = 'TY400', column = 'p_period_type',
      message = format('unknown period type %s', to_json(left(p_period_type, 64))),
      hint = 'Use day, week or month.';
  elsif p_period_start = '' and (p_from = '' or p_to = '') then
    raise exception using
      errcode = 'TY400', column = 'p_period_start', message = 'give periodStart, or both from and to';
  elsif p_period_start <> '' and (p_from <> '' or p_to <> '') then
    raise exception using
      errcode = 'TY400', column = 'p_period_start', message = 'give periodStart, or from and to, not both';
  elsif p_period_start <> '' then
    v_from := tally.range_date(p_period_start, v_zone, 'p_period_start');
    first_on := tally.first_date(v_from, p_period_type, v_week_start);
    end_on := tally.next_date(first_on, p_period_type);
    return;
  end if;
  v_from := tally.range_date(p_from, v_zone, 'p_from');
  v_to := tally.range_date(p_to, v_zone, 'p_to');
  if v_from > v_to then
    raise exception using
      errcode = 'TY400', column = 'p_from', message = format('from %s is after to %s', v_from, v_to);
  end if;
  -- By instants: where a week or month would begin on a date that the zone left out, it begins with
  -- the next day, and is called by that day's date.
  first_on := tally.first_date(v_from, p_period_type, v_week_start);
  if tally.day_start(first_on, v_zone) < tally.day_start(v_from, v_zone) then
    first_on := tally.next_date(first_on, p_period_type);
  end if;
  end_on := first_on;
  v_to_at := tally.day_start(v_to, v_zone);
  if tally.day_start(first_on, v_zone) < v_to_at then
    v_to := tally.local_date(v_to_at - interval '1 microsecond', v_zone);
    end_on := tally.next_date(tally.first_date(v_to, p_period_type, v_week_start), p_period_type);
  end if;
end
$$;
alter function tally.summary_range owner to tally_owner;
revoke all on function tally.summary_range from public;
grant execute on function tally.summary_range to tally_tenant;
comment on function tally.summary_range is
  'The local dates on which the first period of a question begins and its last one ends; equal if it means none. TY400 for bad arguments.';
