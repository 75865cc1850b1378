-- Writes a line in the audit log, in the transaction of the act that it tells of.
create function tally.audit(
  p_action text, p_tenant uuid, p_subject text, p_by uuid default null, p_details jsonb default '{}'
)
returns void
language sql volatile
set search_path = ''
as $$
  insert into tally.audit_log (action, tenant_id, subject, key_id, details)
  values (
    p_action, p_tenant, p_subject, nullif(p_by, '00000000-0000-0000-0000-000000000000'), p_details)
$$;
alter function tally.audit owner to tally_owner;
revoke all on function tally.audit from public;
comment on function tally.audit is
  'Writes a line in tally.audit_log. p_by is the API key that asked; NULL or zeros for a login.';
