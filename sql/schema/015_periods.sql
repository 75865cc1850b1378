-- Time. A local day begins at the first instant at which the zone's clock reads midnight or later,
-- and lasts until the next day begins: total, without gaps or overlaps, whatever the clock does
-- (midnight skipped in Sao Paulo, passed twice in Havana, a date left out in Samoa). Weeks and
-- months are runs of such days; an hour is an hour counted from the day's beginning. Every
-- boundary falls on a quarter hour of UTC, because since 1980 every UTC offset in use is a
-- multiple of 15 minutes.
--
-- All in PL/pgSQL, which keeps its plans: a strict SQL function is planned anew at each call unless
-- it can be inlined.

create function tally.day_start(p_on date, p_zone text) returns timestamptz
language plpgsql immutable strict parallel safe
as $$
declare
  v_midnight timestamp := p_on;
  -- Where the clock is set back over midnight, this is the later of two midnights.
  v_late timestamptz := v_midnight at time zone p_zone;
  v_before timestamptz := v_late - interval '6 hours';
  v_early timestamptz := v_before + (v_midnight - (v_before at time zone p_zone));
begin
  if v_early < v_late and v_early at time zone p_zone = v_midnight then
    return v_early;
  end if;
  return v_late;
end
$$;
comment on function tally.day_start(date, text) is
  'The first instant at which the clock of the zone reads midnight of that date, or later.';

create function tally.local_date(p_at timestamptz, p_zone text) returns date
language plpgsql immutable strict parallel safe
as $$
declare
  v_on date := (p_at at time zone p_zone)::date;
begin
  -- Set back from just after midnight, the clock shows yesterday's date again: the new day has begun.
  if tally.day_start(v_on + 1, p_zone) <= p_at then
    return v_on + 1;
  end if;
  return v_on;
end
$$;
comment on function tally.local_date(timestamptz, text) is 'The local day that holds the instant.';

create function tally.local_time(p_at timestamptz, p_zone text) returns timestamp
language plpgsql immutable strict parallel safe
as $$
begin
  return greatest(p_at at time zone p_zone, tally.local_date(p_at, p_zone));
end
$$;
comment on function tally.local_time(timestamptz, text) is
  'What the clock of the zone shows, but never a date before the local day that holds the instant.';

create function tally.first_date(p_on date, p_unit text, p_week_start integer) returns date
language plpgsql immutable strict parallel safe
as $$
begin
  return case p_unit
    when 'week' then p_on - (extract(isodow from p_on)::integer - p_week_start + 7) % 7
    when 'month' then p_on - extract(day from p_on)::integer + 1
    else p_on
  end;
end
$$;
comment on function tally.first_date(date, text, integer) is
  'The first date of the day, week or month that holds the date.';

create function tally.next_date(p_first date, p_unit text) returns date
language plpgsql immutable strict parallel safe
as $$
begin
  return case p_unit
    when 'week' then p_first + 7
    when 'month' then (p_first + interval '1 month')::date
    else p_first + 1
  end;
end
$$;
comment on function tally.next_date(date, text) is
  'The first date of the following day, week or month.';

create function tally.period_start(p_at timestamptz, p_unit text, p_zone text, p_week_start integer)
returns timestamptz
language plpgsql immutable strict parallel safe
as $$
declare
  v_on date;
begin
  if not isfinite(p_at) then
    return p_at;
  elsif p_unit = 'quarter_hour' then
    return date_bin('15 minutes', p_at, timestamptz 'epoch');
  end if;
  v_on := tally.local_date(p_at, p_zone);
  if p_unit = 'hour' then
    return date_bin('1 hour', p_at, tally.day_start(v_on, p_zone));
  end if;
  return tally.day_start(tally.first_date(v_on, p_unit, p_week_start), p_zone);
end
$$;
comment on function tally.period_start(timestamptz, text, text, integer) is
  'The first instant of the quarter_hour, hour, day, week or month that holds the instant.';

create function tally.period_end(p_at timestamptz, p_unit text, p_zone text, p_week_start integer)
returns timestamptz
language plpgsql immutable strict parallel safe
as $$
declare
  v_on date;
begin
  if not isfinite(p_at) then
    return p_at;
  elsif p_unit = 'quarter_hour' then
    return date_bin('15 minutes', p_at, timestamptz 'epoch') + interval '15 minutes';
  end if;
  v_on := tally.local_date(p_at, p_zone);
  if p_unit = 'hour' then
    return least(
      tally.period_start(p_at, 'hour', p_zone, p_week_start) + interval '1 hour',
      tally.day_start(v_on + 1, p_zone));
  end if;
  return tally.day_start(
    tally.next_date(tally.first_date(v_on, p_unit, p_week_start), p_unit), p_zone);
end
$$;
comment on function tally.period_end(timestamptz, text, text, integer) is
  'The first instant after the quarter_hour, hour, day, week or month that holds the instant.';

create function tally.period_ceiling(p_at timestamptz, p_unit text, p_zone text, p_week_start integer)
returns timestamptz
language plpgsql immutable strict parallel safe
as $$
begin
  if tally.period_start(p_at, p_unit, p_zone, p_week_start) = p_at then
    return p_at;
  end if;
  return tally.period_end(p_at, p_unit, p_zone, p_week_start);
end
$$;
comment on function tally.period_ceiling(timestamptz, text, text, integer) is
  'The first start of a period at or after the instant.';

create function tally.period_type_name(p_period_type "char") returns text
language sql immutable strict parallel safe
as $$
  select case p_period_type
    when 'q' then 'quarter_hour'
    when 'd' then 'day'
    when 'w' then 'week'
    when 'm' then 'month'
  end
$$;
comment on function tally.period_type_name("char") is
  'The word for the letter that a summary is stored with: quarter_hour, day, week or month. The other way round it is a cast: ''day''::"char".';

revoke all on function
  tally.period_type_name("char"),
  tally.day_start(date, text),
  tally.local_date(timestamptz, text),
  tally.local_time(timestamptz, text),
  tally.first_date(date, text, integer),
  tally.next_date(date, text),
  tally.period_start(timestamptz, text, text, integer),
  tally.period_end(timestamptz, text, text, integer),
  tally.period_ceiling(timestamptz, text, text, integer)
from public;
grant execute on function tally.period_type_name("char") to tally_tenant;
grant execute on function
  tally.day_start(date, text),
  tally.local_date(timestamptz, text),
  tally.local_time(timestamptz, text),
  tally.first_date(date, text, integer),
  tally.next_date(date, text),
  tally.period_start(timestamptz, text, text, integer),
  tally.period_end(timestamptz, text, text, integer),
  tally.period_ceiling(timestamptz, text, text, integer)
to tally_tenant, tally_bi;
