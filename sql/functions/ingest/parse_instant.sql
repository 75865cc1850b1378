-- Reads an RFC 3339 time with an offset, as far as PostgreSQL can store it: no leap seconds, no 24:00,
-- offsets up to 15:59. More than six decimals are rounded half up, as clients round them; a cast
-- would round half to even. Checked by arithmetic, since an exception block costs more than all this.
create function tally.parse_instant(p_text text) returns timestamptz
language plpgsql stable strict
set search_path = ''
as $$
declare
  v_parts text[] := regexp_match(
    p_text,
    '^(\d{4}-\d\d-\d\d)[Tt ]([01]\d|2[0-3]):([0-5]\d):([0-5]\d)(?:\.(\d{1,9}))?(?:([Zz])|[+-](?:0\d|1[0-5]):[0-5]\d)$');
begin
  if v_parts is null or tally.parse_date(v_parts[1]) is null then
    return null;
  end if;
  return (
    v_parts[1] || ' ' || v_parts[2] || ':' || v_parts[3] || ':' || v_parts[4]
    || case when v_parts[6] is null then right(p_text, 6) else '+00' end
  )::timestamptz
  + coalesce((rpad(v_parts[5], 9, '0')::bigint + 500) / 1000, 0) * interval '1 microsecond';
end
$$;
alter function tally.parse_instant owner to tally_owner;
revoke all on function tally.parse_instant from public;
grant execute on function tally.parse_instant to tally_tenant;
comment on function tally.parse_instant is
  'The instant of an RFC 3339 time with an offset, to the microsecond; NULL if the text is none.';
