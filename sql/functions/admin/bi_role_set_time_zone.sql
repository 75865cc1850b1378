-- Gives the BI logins of a tenant its time zone, which new sessions begin with: after a change of
-- calendar. Drivers that send a zone of their own, as JDBC does, are not reached; the views are right
-- in any zone. A caller who may not alter roles is warned, and doctor names what is left to do.
create function tally.bi_role_set_time_zone(p_tenant uuid) returns void
language plpgsql volatile strict
set search_path = ''
as $$
declare
  v_tenant tally.tenant_context := tally.tenant_read(p_tenant);
  v_role text;
begin
  for v_role in select l.role_name from tally.bi_role_list() as l where l.tenant_id = p_tenant
  loop
    begin
      execute format('alter role %I set timezone = %L', v_role, v_tenant.time_zone);
    exception when insufficient_privilege then
      raise warning 'login % keeps its time zone: %', v_role, sqlerrm;
    end;
  end loop;
end
$$;
alter function tally.bi_role_set_time_zone owner to tally_owner;
revoke all on function tally.bi_role_set_time_zone from public;
comment on function tally.bi_role_set_time_zone is
  'Makes the time zone of a tenant that of its BI logins; warns of those that the caller may not alter. TY404, TY410.';
