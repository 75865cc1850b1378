-- The zone in which a question counts days: the one it names, or else the tenant's own.
create function tally.query_zone(p_tenant tally.tenant_context, p_time_zone text) returns text
language plpgsql stable strict
set search_path = ''
as $$
begin
  if p_time_zone = '' then
    return p_tenant.time_zone;
  end if;
  return tally.check_time_zone(p_time_zone);
end
$$;
alter function tally.query_zone owner to tally_owner;
revoke all on function tally.query_zone from public;
grant execute on function tally.query_zone to tally_tenant;
comment on function tally.query_zone is
  'The zone if it is an IANA name, the tenant''s own if it is empty; TY400 otherwise.';
