-- Deletes a tenant, for good, a transaction a call. The first call marks it: from its commit on every
-- request for the tenant is TY410, and no job touches it. Each later call removes up to p_limit rows
-- (tally.tenant_remove_step), until the state is done; tally.maintain does the same. Call it again
-- after any interruption. Returns the certificate, which stays, without the tenant's name. p_name
-- repeats the name, lest an id that was mistaken deletes another tenant.
create function tally.tenant_remove(
  p_tenant uuid,
  p_name text,
  p_limit integer default 10000,
  p_by uuid default '00000000-0000-0000-0000-000000000000'
)
returns table (
  tenant_id uuid, state text, event_count bigint, first_occurred_at timestamptz,
  last_occurred_at timestamptz, summary_count bigint, requested_at timestamptz,
  finished_at timestamptz, logins_left text[]
)
language plpgsql volatile strict
set search_path = ''
as $$
declare
  v_name text;
begin
  if p_limit not between 1 and 1000000 then
    raise exception using errcode = 'TY400', column = 'p_limit', message = 'limit is 1 to 1,000,000';
  end if;
  select t.name into v_name from tally.tenants as t where t.tenant_id = p_tenant;
  if found and v_name <> p_name then
    raise exception using
      errcode = 'TY400', column = 'p_name', message = 'this is not the name of the tenant',
      hint = 'Deleting is for good, so it takes the name as well as the id, exactly as the list of tenants shows it.';
  elsif not found and not exists (
    select from tally.tenant_deletions as d where d.tenant_id = p_tenant)
  then
    raise exception using errcode = 'TY404', message = 'no such tenant';
  end if;
  update tally.tenants as t
  set deleted_at = clock_timestamp()
  where t.tenant_id = p_tenant and t.deleted_at is null;
  if found then
    insert into tally.tenant_deletions (tenant_id, key_id)
    values (p_tenant, nullif(p_by, '00000000-0000-0000-0000-000000000000'));
    perform tally.audit('tenant.delete', p_tenant, p_tenant::text, p_by);
    perform tally.tenant_logins_end(p_tenant, false);
  else
    perform tally.tenant_logins_end(p_tenant, true);
    perform tally.tenant_remove_step(p_tenant, p_limit);
  end if;
  return query select * from tally.tenant_deletion(p_tenant);
end
$$;
alter function tally.tenant_remove owner to tally_owner;
revoke all on function tally.tenant_remove from public;
comment on function tally.tenant_remove is
  'Deletes a tenant for good: the first call marks it, each later one removes up to p_limit rows, until the state is done. Returns the certificate so far. TY404, TY400 unless p_name is the tenant''s name.';
