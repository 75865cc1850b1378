-- Writes a line in the audit log, in the transaction of the act that it tells of. The login is what
-- PostgreSQL knows; p_by is what the service says of who asked, and has to be a key of the tenant or
-- of the installation, so that no key of somebody else is made to look guilty.
create function tally.audit(
  p_action text, p_tenant uuid, p_subject text, p_by uuid default null, p_details jsonb default '{}'
)
returns void
language plpgsql volatile
set search_path = ''
as $$
declare
  v_by uuid := nullif(p_by, '00000000-0000-0000-0000-000000000000');
begin
  if v_by is not null and not exists (
    select from tally.api_keys as k
    where k.key_id = v_by and (k.tenant_id = p_tenant or k.tenant_id is null))
  then
    raise exception using
      errcode = 'TY403', message = 'the key that asks is not of this tenant, nor of the installation';
  end if;
  insert into tally.audit_log (action, tenant_id, subject, key_id, details)
  values (p_action, p_tenant, p_subject, v_by, p_details);
end
$$;
alter function tally.audit owner to tally_owner;
revoke all on function tally.audit from public;
comment on function tally.audit is
  'Writes a line in tally.audit_log. p_by is the API key that asked, as the service says; NULL or zeros for a login. TY403 if it is no key of the tenant or of the installation.';
