-- Keeps the house: partitions (tally.partition_maintain), retention of events and quarter hours,
-- records that are past their keep time (tally.keep_time), and what is left of deleted tenants
-- (tally.tenant_remove). May be run at any time.
create procedure tally.maintain(
  inout partitions integer default 0, inout moved bigint default 0,
  inout dropped integer default 0, inout removed bigint default 0
)
language plpgsql
as $$
declare
  v_run bigint := tally.job_start('maintain');
  v_tenants uuid[] := array(
    select t.tenant_id
    from tally.tenants as t
    where (t.event_retention is not null or t.quarter_hour_retention is not null)
      and t.deleted_at is null);
  v_retained integer := cardinality(v_tenants);
  v_deleted bigint;
  v_touched integer;
  v_healed bigint;
  v_failures integer;
  v_error text;
  v_retention_error text;
begin
  dropped := 0;
  call tally.partition_maintain(partitions, moved, v_error);
  -- Bounds first, for all: whole partitions may then go before single rows.
  call tally.each_tenant(
    'move retention bounds', v_tenants, null, removed, v_touched, v_healed, v_failures, v_retention_error);
  begin
    dropped := tally.partition_drop_expired();
  exception when lock_not_available then
    v_error := format('dropping expired partitions: %s; the next run tries again', sqlerrm);
    raise warning '%', v_error;
  end;
  commit;
  call tally.each_tenant(
    'apply retention', v_tenants, null, removed, v_touched, v_healed, v_failures, v_retention_error);
  perform tally.records_prune();
  v_tenants := array(
    select d.tenant_id from tally.tenant_deletions as d where d.finished_at is null);
  call tally.each_tenant(
    'delete tenant', v_tenants, null, v_deleted, v_touched, v_healed, v_failures, v_retention_error);
  removed := removed + v_deleted;
  perform tally.job_finish(
    v_run, v_retained + cardinality(v_tenants), moved + removed, 0, coalesce(v_retention_error, v_error));
  commit;
end
$$;
alter procedure tally.maintain owner to tally_owner;
revoke all on procedure tally.maintain from public;
comment on procedure tally.maintain is
  'Makes partitions four weeks ahead, drains full weeks from the default partition, removes what is past its retention and what is left of deleted tenants, prunes records; returns new partitions, moved events, dropped partitions and removed rows.';
