-- Waits until nobody stores anything for the tenant, and keeps it so until the transaction ends. Who
-- comes to store meanwhile queues behind us, so a try waits 100 ms at most.
create function tally.ingest_lock_exclusive(p_tenant uuid) returns void
language plpgsql volatile strict
set search_path = ''
set lock_timeout = '100ms'
as $$
begin
  for v_try in 1..30
  loop
    begin
      perform pg_advisory_xact_lock(tally.ingest_lock(p_tenant));
      return;
    exception when lock_not_available then
      perform pg_sleep(random() * 0.1);
    end;
  end loop;
  raise exception using
    errcode = 'TY503', message = 'somebody has been storing events of this tenant without a pause',
    hint = 'Try again; a transaction that stores events may be open for long.';
end
$$;
alter function tally.ingest_lock_exclusive owner to tally_owner;
revoke all on function tally.ingest_lock_exclusive from public;
comment on function tally.ingest_lock_exclusive is
  'The advisory lock of ingest, for oneself: no transaction that stores events of the tenant is under way until ours has ended. TY503 when there was no moment for it.';
