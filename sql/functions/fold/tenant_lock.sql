-- Begins everything that changes the summaries of a tenant: one at a time, until the transaction
-- ends. Ingest and readers never wait for it.
create function tally.tenant_lock(p_tenant uuid) returns tally.tenant_context
language plpgsql volatile strict
set search_path = ''
as $$
begin
  perform from tally.tenant_state as s where s.tenant_id = p_tenant for no key update;
  -- A statement of its own, which sees what the one that we waited for has committed.
  return tally.tenant_read(p_tenant);
end
$$;
alter function tally.tenant_lock owner to tally_owner;
revoke all on function tally.tenant_lock from public;
comment on function tally.tenant_lock is
  'Locks a tenant for changes of its summaries until the transaction ends and returns its context; TY404 if there is none, TY410 if it was deleted.';
