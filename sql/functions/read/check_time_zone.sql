-- Accepts the names of IANA zones. PostgreSQL would also take POSIX specifications such as UTC+3,
-- whose sign means the opposite of what people expect, and abbreviations such as CET, which it
-- reads as a fixed offset all year although the IANA zone of that name has summer time.
create function tally.check_time_zone(p_zone text) returns text
language plpgsql stable strict
set search_path = ''
as $$
begin
  if p_zone !~ '^(Etc/GMT([+]([0-9]|1[0-2])|-([0-9]|1[0-4]))|[A-Za-z_]+(/[A-Za-z_-]+){0,2})$'
    or lower(p_zone) in ('localtime', 'factory', 'posixrules')
    or upper(p_zone) not in ('UTC', 'GMT')
      and upper(p_zone) in (select a.abbrev from pg_catalog.pg_timezone_abbrevs as a)
    or not tally.knows_time_zone(p_zone)
  then
    raise exception using
      errcode = 'TY400', column = 'p_time_zone',
      message = format('unknown time zone %s', to_json(left(p_zone, 64))),
      hint = 'Use an IANA name such as Europe/Berlin or UTC.';
  end if;
  return p_zone;
end
$$;
alter function tally.check_time_zone owner to tally_owner;
revoke all on function tally.check_time_zone from public;
grant execute on function tally.check_time_zone to tally_tenant, tally_owner;
comment on function tally.check_time_zone is 'Returns the zone if it is an IANA name that this server knows, else raises TY400.';
