-- The buckets of a timeline: the instants at which they begin and, one longer, the boundaries
-- between them, where the first and the last are cut to the range.
create function tally.timeline_buckets(
  p_from timestamptz, p_to timestamptz, p_unit text, p_zone text, p_week_start integer,
  out starts timestamptz[], out boundaries timestamptz[]
)
language plpgsql stable strict
set search_path = ''
as $$
declare
  v_first date := tally.first_date(tally.local_date(p_from, p_zone), p_unit, p_week_start);
  v_last date := tally.local_date(p_to - interval '1 microsecond', p_zone);
  v_days integer := case p_unit when 'hour' then 1 when 'week' then 7 when 'month' then 30 else 1 end;
begin
  if (v_last - v_first)::bigint * (case p_unit when 'hour' then 24 else 1 end) / v_days > 10000 then
    raise exception using
      errcode = 'TY400', column = 'p_interval',
      message = format('this range has more than 10,000 intervals of a %s', p_unit),
      hint = 'Choose a shorter range or a longer interval.';
  end if;
  if p_unit = 'hour' then
    select array_agg(distinct hours.at order by hours.at) into starts
    from generate_series(v_first::timestamp, v_last, interval '1 day') as days (on_day),
      generate_series(
        tally.day_start(on_day::date, p_zone),
        tally.day_start(on_day::date + 1, p_zone) - interval '1 microsecond',
        interval '1 hour') as hours (at)
    where hours.at < p_to and hours.at + interval '1 hour' > p_from;
  else
    select array_agg(distinct days.at order by days.at) into starts
    from (
      select tally.day_start(on_day::date, p_zone) as at
      from generate_series(
        v_first::timestamp, v_last, ('1 ' || p_unit)::interval) as series (on_day)
    ) as days
    where days.at < p_to;
  end if;
  boundaries := array[p_from] || starts[2:] || p_to;
end
$$;
alter function tally.timeline_buckets owner to tally_owner;
revoke all on function tally.timeline_buckets from public;
grant execute on function tally.timeline_buckets to tally_tenant;
comment on function tally.timeline_buckets is
  'Starts and boundaries of the hours, days, weeks or months of a finite range; TY400 above 10,000.';
