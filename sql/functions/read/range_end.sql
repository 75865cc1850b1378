-- Reads an end of a range as people write it: a date, which means its local midnight, an RFC 3339
-- time, as PostgreSQL prints it too, -infinity or infinity.
create function tally.range_end(p_text text, p_zone text, p_argument text) returns timestamptz
language plpgsql stable strict
set search_path = ''
as $$
declare
  v_at timestamptz;
begin
  if p_text in ('-infinity', 'infinity') then
    return p_text::timestamptz;
  end if;
  -- Most are plain dates, for which this is all there is to check.
  if p_text ~ '^(19[1-9]|20\d|21\d)\d-(0[1-9]|1[0-2])-(0[1-9]|1\d|2[0-8])$' then
    return tally.day_start(p_text::date, p_zone);
  end if;
  v_at := coalesce(
    tally.day_start(tally.parse_date(p_text), p_zone),
    tally.parse_instant(regexp_replace(p_text, '([+-]\d\d)$', '\1:00')));
  if v_at is null or v_at not between '1900-01-01 00:00:00+00' and '2200-01-01 00:00:00+00' then
    raise exception using
      errcode = 'TY400', column = p_argument,
      message = format('%s is no time from 1900 to 2199', to_json(left(p_text, 64))),
      hint = 'Use 2026-01-31, or 2026-01-31T12:00:00Z with an offset.';
  end if;
  return v_at;
end
$$;
alter function tally.range_end owner to tally_owner;
revoke all on function tally.range_end from public;
grant execute on function tally.range_end to tally_tenant;
comment on function tally.range_end is
  'The instant of an RFC 3339 time, of the local midnight of a date, or of infinity; TY400, naming the argument, otherwise.';
