-- Finalizes every ended day, week or month that is not final, of every tenant, in its own time zone,
-- 31 periods a transaction, whether they ended yesterday or weeks ago. May be run at any time,
-- twice, and at once: the second run finds nothing left. Cost: one aggregation of the raw events.
create procedure tally.finalize(
  p_period_type text,
  inout periods bigint default 0, inout tenants integer default 0,
  inout healed bigint default 0, inout failures integer default 0
)
language plpgsql
as $$
declare
  v_run bigint;
  v_tenants uuid[] := array(
    select t.tenant_id from tally.tenants as t where t.deleted_at is null);
  v_error text;
begin
  if p_period_type not in ('day', 'week', 'month') then
    raise exception using
      errcode = 'TY400', message = format('unknown period type %s', to_json(p_period_type)),
      hint = 'Use day, week or month.';
  end if;
  v_run := tally.job_start('finalize ' || p_period_type);
  call tally.each_tenant(
    'finalize ' || p_period_type, v_tenants, null, periods, tenants, healed, failures, v_error);
  perform tally.job_finish(v_run, tenants, periods, healed, v_error);
  commit;
end
$$;
alter procedure tally.finalize owner to tally_owner;
revoke all on procedure tally.finalize from public;
comment on procedure tally.finalize is
  'Checks every ended day, week or month that is not final against the raw events and marks it final; returns how many, of how many tenants, how many rows had to be healed, and failures. Safe to run at any time.';
