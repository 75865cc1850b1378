-- Begins every api function that stores something for a tenant: tally.tenant_set_current, behind a
-- lock that all who store share until their transaction ends. Once a tenant is marked as deleted and
-- its deletion has had that lock for itself for a moment, who stored before has committed and who
-- comes later sees the mark, so that nothing is ever stored again. Nobody waits for anybody: the
-- deletion tries for the lock, and holds it for one update. Cost: about 2 us a batch.
create function tally.tenant_write(p_tenant uuid) returns tally.tenant_context
language plpgsql volatile strict
as $$
declare
  v_tenant tally.tenant_context;
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    perform tally.check_read_committed();
  end if;
  -- Always true, and no query. What follows has a newer snapshot, since this function is volatile.
  if pg_advisory_xact_lock_shared(tally.ingest_lock(p_tenant)) is not null then
    v_tenant := tally.tenant_set_current(p_tenant);
  end if;
  return v_tenant;
end
$$;
alter function tally.tenant_write owner to tally_owner;
revoke all on function tally.tenant_write from public;
grant execute on function tally.tenant_write to tally_tenant;
comment on function tally.tenant_write is
  'tally.tenant_set_current for functions that store something: until the transaction ends no deletion of the tenant begins to remove. TY404, TY410, TY409 unless read committed.';
