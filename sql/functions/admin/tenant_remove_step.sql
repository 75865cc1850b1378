-- One step of a deletion: up to p_limit rows of a tenant that is marked, in the caller's transaction.
-- Whatever the tenant's last readers see is gone first (BI logins that could not be ended read
-- summaries), raw events come after it, the tenant's own row is last. Waits for nobody: where others
-- still work on the tenant, it does nothing, and there is more. Nothing is stored any more once
-- ingest_ended_at is set: see tally.tenant_write. Should it happen all the same, past that lock, the
-- deltas tell, and the events are looked for again. Cost: about 10 us a row.
create function tally.tenant_remove_step(
  p_tenant uuid,
  p_limit integer default 10000,
  out rows bigint, out more boolean, out waiting boolean
)
language plpgsql volatile strict
set search_path = ''
as $$
declare
  v_deletion tally.tenant_deletions;
begin
  rows := 0;
  more := exists (
    select from tally.tenant_deletions as d where d.tenant_id = p_tenant and d.finished_at is null);
  waiting := more;
  perform tally.check_read_committed();
  -- From here on no events move to another partition; see tally.partition_create.
  lock table only tally.events in access share mode;
  -- Who folds or finalizes has begun before the mark; who deletes as well is one of us.
  perform from tally.tenant_state as s
  where s.tenant_id = p_tenant
  for no key update skip locked;
  if not found then
    return;
  end if;
  select * into v_deletion
  from tally.tenant_deletions as d
  where d.tenant_id = p_tenant and d.finished_at is null;
  if not found then
    raise exception using
      errcode = 'TY409', message = 'the tenant is not marked for deletion',
      hint = 'tally.tenant_remove marks it.';
  elsif v_deletion.ingest_ended_at is null then
    -- A mark that others do not see yet ends nothing.
    if v_deletion.requested_in <> pg_current_xact_id()
      and pg_try_advisory_xact_lock(tally.ingest_lock(p_tenant))
    then
      update tally.tenant_deletions as d
      set ingest_ended_at = clock_timestamp()
      where d.tenant_id = p_tenant;
      waiting := false;
    end if;
    return;
  end if;
  waiting := false;
  rows := tally.tenant_remove_records(p_tenant, p_limit);
  if rows < p_limit then
    rows := rows + tally.tenant_remove_events(p_tenant, p_limit - rows::integer);
  end if;
  if rows = 0 then
    more := not tally.tenant_remove_last(p_tenant);
    waiting := more;
  end if;
end
$$;
alter function tally.tenant_remove_step owner to tally_owner;
revoke all on function tally.tenant_remove_step from public;
comment on function tally.tenant_remove_step is
  'Removes up to p_limit rows of a tenant that is marked for deletion; returns how many, whether there is more to do, and whether that waits until others have let go of the tenant.';
