-- Removes records that are past their keep time (tally.keep_time).
create function tally.records_prune() returns void
language plpgsql volatile
set search_path = ''
as $$
declare
  v_runs timestamptz := now() - tally.keep_time('job_runs');
  v_rejected timestamptz := now() - tally.keep_time('rejected_events');
  v_receipts timestamptz := now() - tally.keep_time('receipts');
  v_buckets timestamptz := now() - interval '1 day';
begin
  -- An aborted move has used up a number that readers in a repeatable-read transaction look at.
  if tally.partition_version() < (
    select c.last_value from tally.partition_changes_change_id_seq as c where c.is_called)
  then
    insert into tally.partition_changes (partition_name, event_count) values ('none', 0);
  end if;
  delete from tally.job_runs where started_at < v_runs;
  delete from tally.rejected_events where rejected_at < v_rejected;
  delete from tally.receipts where created_at < v_receipts;
  delete from tally.rate_buckets where updated_at < v_buckets;
end
$$;
alter function tally.records_prune owner to tally_owner;
revoke all on function tally.records_prune from public;
comment on function tally.records_prune is
  'Removes run records, rejected events, receipts and rate buckets that are past their keep time.';
