-- Begins every api function that acts for a tenant: from here to the end of the transaction row
-- security shows this tenant only. Returns the tenant's row, TY404 when there is none.
create function tally.act_for(p_tenant uuid) returns tally.tenants
language plpgsql stable strict
set search_path = ''
as $$
declare
  v_tenant tally.tenants;
begin
  -- Always true: a condition is evaluated without a query, which `perform` would be.
  if set_config('tally.tenant_id', p_tenant::text, true) is not null then
    select * into v_tenant from tally.tenants where tenant_id = p_tenant;
  end if;
  if not found then
    raise exception using errcode = 'TY404', message = 'no such tenant';
  end if;
  return v_tenant;
end
$$;
alter function tally.act_for owner to tally_owner;
revoke all on function tally.act_for from public;
grant execute on function tally.act_for to tally_tenant;
comment on function tally.act_for is
  'Makes the tenant the one that row security shows until the transaction ends, and returns its row; TY404 if there is none.';
