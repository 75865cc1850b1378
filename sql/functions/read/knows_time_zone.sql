-- Does this server know the zone? The view pg_timezone_names would read every zone's file.
create function tally.knows_time_zone(p_zone text) returns boolean
language plpgsql stable strict
set search_path = ''
as $$
begin
  perform now() at time zone p_zone;
  return true;
exception when invalid_parameter_value then
  return false;
end
$$;
alter function tally.knows_time_zone owner to tally_owner;
revoke all on function tally.knows_time_zone from public;
grant execute on function tally.knows_time_zone to tally_tenant;
comment on function tally.knows_time_zone is 'Whether this server knows a time zone of that name.';
