-- Moves all waiting deltas into the summaries, 20,000 of one tenant a transaction. May be run at any
-- time, twice, and at once: a second run gets its turn between the steps of the first, and finds the
-- deltas gone. Then measures the tenants that have quotas (tally.usage_measure). Cost: about 20 us a
-- delta.
create procedure tally.fold(
  inout deltas bigint default 0, inout tenants integer default 0, inout failures integer default 0
)
language plpgsql
as $$
declare
  v_run bigint := tally.job_start('fold');
  v_tenants uuid[] := array(
    select d.tenant_id
    from (
      select s.tenant_id from tally.summary_deltas as s
      union
      select m.tenant_id from tally.meter_deltas as m
    ) as d
    where not exists (
      select from tally.tenants as t
      where t.tenant_id = d.tenant_id and t.deleted_at is not null));
  v_measured uuid[] := array(
    select t.tenant_id from tally.tenants as t where t.quotas <> '{}' and t.deleted_at is null);
  v_rows bigint;
  v_touched integer;
  v_failures integer;
  v_healed bigint;
  v_error text;
  v_measure_error text;
begin
  call tally.each_tenant('fold', v_tenants, null, deltas, tenants, v_healed, failures, v_error);
  tenants := cardinality(v_tenants);
  call tally.each_tenant(
    'measure', v_measured, null, v_rows, v_touched, v_healed, v_failures, v_measure_error);
  failures := failures + v_failures;
  perform tally.job_finish(v_run, tenants, deltas, 0, coalesce(v_error, v_measure_error));
  commit;
end
$$;
alter procedure tally.fold owner to tally_owner;
revoke all on procedure tally.fold from public;
comment on procedure tally.fold is
  'Moves waiting deltas into the summaries and returns how many, of how many tenants, and for how many it failed. Safe to run at any time.';
