-- One step of finalize: up to p_limit ended periods of a tenant, in the caller's transaction. First
-- those since the last finalize, periods without events included, then those that late events
-- have opened again.
create function tally.finalize_tenant(
  p_tenant uuid, p_period_type text, p_limit integer default 31,
  out periods integer, out healed integer
)
language plpgsql volatile strict
set search_path = ''
as $$
declare
  v_tenant tally.tenant_context;
  v_start timestamptz;
  v_end timestamptz;
  v_current timestamptz;
begin
  periods := 0;
  healed := 0;
  -- Nothing to do, as in a second run, or beside another: locks nothing.
  v_tenant := tally.tenant_read(p_tenant);
  v_start := tally.finalized_to(v_tenant, p_period_type);
  if v_start >= tally.period_start(now(), p_period_type, v_tenant.time_zone, v_tenant.week_start)
    and not exists (select from tally.summary_deltas as d where d.tenant_id = p_tenant)
    and not exists (select from tally.meter_deltas as m where m.tenant_id = p_tenant)
    and not exists (
      select
      from tally.summaries as s
      where s.tenant_id = p_tenant
        and s.period_type = p_period_type::"char"
        and s.period_type <> 'q'
        and s.final_at is null
        and s.period_start < v_start)
  then
    return;
  end if;
  -- From here on no events move to another partition; see tally.partition_create.
  lock table only tally.events in access share mode;
  v_tenant := tally.tenant_lock(p_tenant);
  perform tally.fold_tenant(p_tenant);
  v_current := tally.period_start(now(), p_period_type, v_tenant.time_zone, v_tenant.week_start);
  v_start := tally.finalized_to(v_tenant, p_period_type);
  while v_start < v_current and periods < p_limit
  loop
    -- Skip to the next period that holds anything.
    select tally.period_start(
      least(v_current, (
        select min(s.period_start)
        from tally.summaries as s
        where s.tenant_id = p_tenant
          and s.period_type = p_period_type::"char"
          and s.kind = 'all'::"char"
          and s.period_start >= v_start
      ), (
        select min(e.occurred_at)
        from tally.events as e
        where e.tenant_id = p_tenant and e.occurred_at >= v_start
      )), p_period_type, v_tenant.time_zone, v_tenant.week_start)
    into v_start;
    exit when v_start >= v_current;
    v_end := tally.period_end(v_start, p_period_type, v_tenant.time_zone, v_tenant.week_start);
    healed := healed + tally.finalize_period(v_tenant, p_period_type, v_start, v_end);
    periods := periods + 1;
    v_start := v_end;
  end loop;
  update tally.tenant_state
  set
    days_finalized_to = case p_period_type when 'day' then v_start else days_finalized_to end,
    weeks_finalized_to = case p_period_type when 'week' then v_start else weeks_finalized_to end,
    months_finalized_to = case p_period_type when 'month' then v_start else months_finalized_to end
  where tenant_id = p_tenant;
  for v_end in
    select distinct s.period_start
    from tally.summaries as s
    where s.tenant_id = p_tenant
      and s.period_type = p_period_type::"char"
      and s.period_type <> 'q'
      and s.final_at is null
      and s.period_start < v_start
    limit p_limit - periods
  loop
    healed := healed + tally.finalize_period(
      v_tenant, p_period_type, v_end,
      tally.period_end(v_end, p_period_type, v_tenant.time_zone, v_tenant.week_start));
    periods := periods + 1;
  end loop;
end
$$;
alter function tally.finalize_tenant owner to tally_owner;
revoke all on function tally.finalize_tenant from public;
comment on function tally.finalize_tenant is
  'Finalizes up to p_limit ended periods of a tenant under the lock of its row; returns how many, and how many rows had to be healed.';
