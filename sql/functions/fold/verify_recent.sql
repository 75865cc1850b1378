-- Verifies what was finalized lately, at every period type, and rebuilds the days that differ: a
-- second look at what finalize has checked, quarter hours included. May be run at any time.
create procedure tally.verify_recent(
  p_days integer default 2,
  inout tenants integer default 0, inout healed bigint default 0, inout failures integer default 0
)
language plpgsql
as $$
declare
  v_run bigint := tally.job_start('verify');
  v_tenants uuid[] := array(
    select t.tenant_id from tally.tenants as t where t.deleted_at is null);
  v_rows bigint;
  v_error text;
begin
  call tally.each_tenant('verify', v_tenants, p_days, v_rows, tenants, healed, failures, v_error);
  tenants := cardinality(v_tenants);
  perform tally.job_finish(v_run, tenants, 0, healed, v_error);
  commit;
end
$$;
alter procedure tally.verify_recent owner to tally_owner;
revoke all on procedure tally.verify_recent from public;
comment on procedure tally.verify_recent is
  'Verifies the last days of every tenant, at every period type, and rebuilds what differs; returns tenants, healed rows and failures.';
