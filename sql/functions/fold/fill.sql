-- Counts for new meters the events of before their creation, days a transaction, while writers go on.
-- May be run at any time, twice, and at once; interrupted, it goes on where it was.
create procedure tally.fill(
  inout days bigint default 0, inout tenants integer default 0, inout failures integer default 0
)
language plpgsql
as $$
declare
  v_run bigint;
  v_tenants uuid[] := array(
    select distinct m.tenant_id
    from tally.meters as m
    join tally.tenants as t on t.tenant_id = m.tenant_id
    where (m.filled_at is null and m.retired_at is null or m.deleted_at is not null)
      and t.deleted_at is null);
  v_healed bigint;
  v_error text;
begin
  v_run := tally.job_start('fill meters');
  call tally.each_tenant('fill meters', v_tenants, null, days, tenants, v_healed, failures, v_error);
  perform tally.job_finish(v_run, tenants, days, 0, v_error);
  commit;
end
$$;
alter procedure tally.fill owner to tally_owner;
revoke all on procedure tally.fill from public;
comment on procedure tally.fill is
  'Fills every meter that is not complete from the raw events; returns how many days, of how many tenants, and failures. Safe to run at any time.';
