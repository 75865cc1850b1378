-- Ends the BI logins of a deleted tenant, as far as the caller may: they may no longer log in, and
-- with p_drop, which comes in a later transaction, their sessions end and they are dropped. Those that
-- stay, for what they own elsewhere or for want of rights, are named by the certificate and by doctor.
create function tally.tenant_logins_end(p_tenant uuid, p_drop boolean) returns void
language plpgsql volatile strict
set search_path = ''
as $$
declare
  v_role name;
begin
  if not exists (
    select from pg_catalog.pg_roles as r
    where r.rolname = current_user and (r.rolsuper or r.rolcreaterole))
  then
    return;
  end if;
  for v_role in
    select r.rolname
    from pg_catalog.pg_roles as r
    where starts_with(r.rolname::text, 'bi_' || replace(p_tenant::text, '-', '') || '_')
  loop
    begin
      if p_drop then
        perform tally.bi_role_drop(v_role::text);
      else
        execute format('alter role %I nologin', v_role);
      end if;
    exception when others then
      raise warning 'login %: %', v_role, sqlerrm;
    end;
  end loop;
end
$$;
alter function tally.tenant_logins_end owner to tally_owner;
revoke all on function tally.tenant_logins_end from public;
comment on function tally.tenant_logins_end is
  'Shuts out the BI logins of a tenant, or drops them, as far as the caller may; warns of those that stay.';
