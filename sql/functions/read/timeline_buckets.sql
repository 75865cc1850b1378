-- The buckets of a timeline: the instants at which they begin and, one longer, the boundaries
-- between them, where the first and the last are cut to the range, and the local days on which they
-- begin. A date that the zone left out has the beginning of the next, and gives way to it.
create function tally.timeline_buckets(
  p_from timestamptz, p_to timestamptz, p_unit text, p_zone text, p_week_start integer,
  out starts timestamptz[], out days date[], out boundaries timestamptz[]
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
  -- tally.day_start of each, in a quarter of the time: where the clock showed 18:00 six hours before
  -- midnight, it was not set in between, so the plain midnight is the day's beginning. A week or month
  -- that would begin on a date that the zone left out is called by the date that came.
  select array_agg(d.at), array_agg(d.on_day)
  into starts, days
  from (
    select s.at, (s.at at time zone p_zone)::date as on_day
    from (
      select
        m.midnight,
        case
          when (m.at - interval '6 hours') at time zone p_zone = m.midnight - interval '6 hours' then m.at
          else tally.day_start(m.midnight::date, p_zone)
        end as at
      from (
        select g.midnight, g.midnight at time zone p_zone as at
        from generate_series(
          v_first::timestamp, v_last + (p_unit = 'hour')::integer,
          case p_unit when 'hour' then interval '1 day' else ('1 ' || p_unit)::interval end
        ) as g (midnight)
        offset 0
      ) as m
      offset 0
    ) as s
    -- Hours need the end of the last day too; a day that was left out has none.
    where p_unit = 'hour'
      or s.at < p_to and (p_unit <> 'day' or (s.at at time zone p_zone)::date = s.midnight::date)
    order by s.midnight
  ) as d;
  if p_unit = 'hour' then
    select array_agg(hours.at), array_agg(hours.on_day)
    into starts, days
    from (
      select h.at, s.on_day
      from unnest(starts, starts[2:], days) as s (at, next_at, on_day)
      cross join generate_series(s.at, s.next_at - interval '1 microsecond', interval '1 hour') as h (at)
      where h.at < p_to and h.at + interval '1 hour' > p_from
      order by h.at
    ) as hours;
  end if;
  boundaries := array[p_from] || starts[2:] || p_to;
end
$$;
alter function tally.timeline_buckets owner to tally_owner;
revoke all on function tally.timeline_buckets from public;
grant execute on function tally.timeline_buckets to tally_tenant;
comment on function tally.timeline_buckets is
  'Starts, local days and boundaries of the hours, days, weeks or months of a finite range; TY400 above 10,000.';
