-- Ends the BI logins of a deleted tenant, as far as the caller may: they may no longer log in, and
-- with p_drop, which comes in a later transaction, their sessions end and they are dropped with the
-- schemas that were made for them. Those that stay, for what they own elsewhere or for want of rights, are named by the certificate and by doctor.
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
        if not pg_catalog.pg_has_role(v_role, 'usage') then
          execute format('grant %I to current_user', v_role)
            || case when current_setting('server_version_num')::integer >= 160000 then ' with inherit true' else '' end;
        end if;
        perform pg_catalog.pg_terminate_backend(a.pid, 5000)
        from pg_catalog.pg_stat_activity as a
        where a.usename = v_role;
        perform tally.bi_schema_drop(p_tenant, true);
        if exists (
          select from pg_catalog.pg_shdepend as s
          where s.refclassid = 'pg_catalog.pg_authid'::regclass
            and s.refobjid = to_regrole(quote_ident(v_role))
            and s.deptype = 'o')
        then
          raise exception 'owns something; call tally.bi_role_drop(%)', quote_literal(v_role);
        end if;
        -- What it was granted.
        execute format('drop owned by %I', v_role);
        execute format('drop role %I', v_role);
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
