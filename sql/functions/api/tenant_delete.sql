-- tally.tenant_remove for the service: p_by has to be a key of the installation that is in force, so
-- that neither a tenant's key nor the service's stolen password deletes anything. The logins of BI
-- tools need other rights than the service has: those that are left are named.
create function api.tenant_delete(
  p_tenant uuid, p_name text, p_by uuid, p_limit integer default 10000
)
returns table (
  tenant_id uuid, state text, event_count bigint, first_occurred_at timestamptz,
  last_occurred_at timestamptz, summary_count bigint, requested_at timestamptz,
  finished_at timestamptz, logins_left text[]
)
language plpgsql volatile strict security definer
set search_path = ''
as $$
begin
  if not exists (
    select from tally.api_keys as k
    where k.key_id = p_by
      and k.tenant_id is null
      and k.revoked_at is null
      and (k.expires_at is null or k.expires_at > now()))
  then
    raise exception using errcode = 'TY403', message = 'deleting a tenant takes a key of the installation';
  end if;
  return query select * from tally.tenant_remove(p_tenant, p_name, p_limit, p_by);
end
$$;
alter function api.tenant_delete owner to tally_owner;
revoke all on function api.tenant_delete from public;
grant execute on function api.tenant_delete to tally_service;
comment on function api.tenant_delete is
  'Deletes a tenant for good, on behalf of a key of the installation: the first call marks it, each later one removes up to p_limit rows; call until the state is done, or leave the rest to maintain. Returns the certificate so far. TY403, TY404, TY400 unless p_name is the tenant''s name.';
