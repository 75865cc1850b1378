-- Reads an RFC 3339 time with an offset: no leap seconds, no 24:00, offsets up to 23:59. More than six
-- decimals are rounded half up, as the service and most clients round them; a cast would round half to
-- even. Checked by arithmetic, since an exception block costs more than all this.
create function tally.parse_instant(p_text text) returns timestamptz
language plpgsql immutable strict parallel safe
set search_path = ''
as $$
declare
  v_parts text[];
  v_date date;
begin
  -- Of the usual form there is nothing to check or to round: a fifth of the time.
  if p_text ~ '^[1-9]\d{3}-(0[1-9]|1[0-2])-(0[1-9]|1\d|2[0-8])[Tt ]([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,6})?([Zz]|[+-](0\d|1[0-4]):[0-5]\d)$' then
    return p_text::timestamptz;
  end if;
  v_parts := regexp_match(
    p_text,
    '^(\d{4}-\d\d-\d\d)[Tt ]([01]\d|2[0-3]):([0-5]\d):([0-5]\d)(?:\.(\d+))?(?:[Zz]|([+-])([01]\d|2[0-3]):?([0-5]\d))$');
  v_date := tally.parse_date(v_parts[1]);
  if v_date is null then
    return null;
  end if;
  return v_date::timestamp at time zone 'UTC'
    + make_interval(
      hours => v_parts[2]::integer, mins => v_parts[3]::integer, secs => v_parts[4]::integer)
    + (left(rpad(coalesce(v_parts[5], ''), 7, '0'), 7)::bigint + 5) / 10 * interval '1 microsecond'
    - case v_parts[6] when '-' then -1 else 1 end * make_interval(
      hours => coalesce(v_parts[7]::integer, 0), mins => coalesce(v_parts[8]::integer, 0));
end
$$;
alter function tally.parse_instant owner to tally_owner;
revoke all on function tally.parse_instant from public;
grant execute on function tally.parse_instant to tally_tenant;
comment on function tally.parse_instant is
  'The instant of an RFC 3339 time with an offset, to the microsecond; NULL if the text is none.';
