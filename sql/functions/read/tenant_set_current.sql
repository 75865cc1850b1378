-- Begins every api function that acts for a tenant: from here to the end of the transaction row
-- security shows this tenant only. Returns what the function has to know of it, TY404 when there is
-- no such tenant, TY410 when it was deleted. One that stores something begins with tally.tenant_write.
create function tally.tenant_set_current(p_tenant uuid) returns tally.tenant_context
language plpgsql stable strict
as $$
declare
  v_tenant tally.tenant_context;
begin
  -- Always true: a condition is evaluated without a query, which `perform` would be.
  if set_config('tally.tenant_id', p_tenant::text, true) is not null then
    v_tenant := tally.tenant_read(p_tenant);
  end if;
  return v_tenant;
end
$$;
alter function tally.tenant_set_current owner to tally_owner;
revoke all on function tally.tenant_set_current from public;
grant execute on function tally.tenant_set_current to tally_tenant;
comment on function tally.tenant_set_current is
  'Makes the tenant the one that row security shows until the transaction ends, and returns its context; TY404 if there is none, TY410 if it was deleted.';
