-- Reads a local date as people write it: a date, or an RFC 3339 time, which means the local day that
-- holds it. A date that the zone left out (2011-12-30 in Apia) is the day that came instead.
create function tally.range_date(p_text text, p_zone text, p_argument text) returns date
language plpgsql stable strict
set search_path = ''
as $$
declare
  v_at timestamptz := tally.range_end(p_text, p_zone, p_argument);
begin
  if v_at not between '1980-01-01 00:00:00+00' and '2200-01-02 00:00:00+00' then
    raise exception using
      errcode = 'TY400', column = p_argument, message = 'periods lie between 1980-01-01 and 2200-01-01';
  end if;
  return tally.local_date(v_at, p_zone);
end
$$;
alter function tally.range_date owner to tally_owner;
revoke all on function tally.range_date from public;
grant execute on function tally.range_date to tally_tenant;
comment on function tally.range_date is
  'The local date of a date or an RFC 3339 time, 1980 to 2199; TY400, naming the argument, otherwise.';
