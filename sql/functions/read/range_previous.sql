-- The range before a range, to compare with: as many months before where both ends are local
-- beginnings of months, as many days where both are local midnights, as long a time otherwise. Days
-- are those that came: a date that the zone left out (2011-12-30 in Apia) counts for none.
create function tally.range_previous(
  p_from timestamptz, p_to timestamptz, p_zone text,
  out previous_from timestamptz, out previous_to timestamptz
)
language plpgsql stable strict
set search_path = ''
as $$
declare
  v_from date;
  v_to date;
  v_months integer;
  v_days integer;
begin
  if not (isfinite(p_from) and isfinite(p_to)) or p_from >= p_to then
    raise exception using
      errcode = 'TY400', column = 'p_compare', message = 'comparing needs a range with both ends, from before to';
  end if;
  previous_to := p_from;
  v_from := tally.local_date(p_from, p_zone);
  v_to := tally.local_date(p_to, p_zone);
  if tally.day_start(v_from, p_zone) <> p_from or tally.day_start(v_to, p_zone) <> p_to then
    -- Seconds: an interval of days would be cut by the session's time zone.
    previous_from := p_from - extract(epoch from p_to - p_from) * interval '1 second';
  elsif tally.period_start(p_from, 'month', p_zone, 1) = p_from
    and tally.period_start(p_to, 'month', p_zone, 1) = p_to
  then
    v_from := tally.first_date(v_from, 'month', 1);
    v_to := tally.first_date(v_to, 'month', 1);
    v_months := extract(year from age(v_to, v_from)) * 12 + extract(month from age(v_to, v_from));
    previous_from := tally.day_start((v_from - make_interval(months => v_months))::date, p_zone);
  else
    -- Between two midnights as many days have come as 24 hours fit in, rounded: clock changes add up
    -- to hours, while a date that the zone left out takes a whole day.
    v_days := round(extract(epoch from p_to - p_from) / 86400);
    v_from := v_from - v_days;
    while round(extract(epoch from p_from - tally.day_start(v_from, p_zone)) / 86400) < v_days
    loop
      v_from := v_from - 1;
    end loop;
    previous_from := tally.day_start(v_from, p_zone);
  end if;
end
$$;
alter function tally.range_previous owner to tally_owner;
revoke all on function tally.range_previous from public;
grant execute on function tally.range_previous to tally_tenant;
comment on function tally.range_previous is
  'The range of the same length just before a range: months before months, days before days. TY400 for an open or empty range.';
