-- One step of retention: moves the tenant's bounds forward and deletes up to p_limit raw events and
-- quarter hours before them. The bounds are local midnights a day further back than the tenant
-- asked for, so that no event which ingest still accepts can arrive behind them. Deltas not yet
-- folded need no care: they add up without their events.
create function tally.retention_apply(p_tenant uuid, p_limit integer default 10000)
returns bigint
language plpgsql volatile strict
set search_path = ''
as $$
declare
  v_tenant tally.tenant_context := tally.tenant_lock(p_tenant);
  v_events bigint;
  v_last timestamptz;
  v_quarter_hours bigint;
begin
  v_tenant.events_kept_from := greatest(v_tenant.events_kept_from, tally.period_start(
    now() - v_tenant.event_retention - interval '1 day', 'day', v_tenant.time_zone,
    v_tenant.week_start));
  v_tenant.quarter_hours_kept_from := greatest(v_tenant.quarter_hours_kept_from, tally.period_start(
    now() - v_tenant.quarter_hour_retention - interval '1 day', 'day', v_tenant.time_zone,
    v_tenant.week_start));
  update tally.tenant_state
  set
    events_kept_from = v_tenant.events_kept_from,
    quarter_hours_kept_from = v_tenant.quarter_hours_kept_from
  where tenant_id = p_tenant
    and (events_kept_from, quarter_hours_kept_from)
      <> (v_tenant.events_kept_from, v_tenant.quarter_hours_kept_from);
  -- By range, as in fold_tenant.
  select max(o.occurred_at) into v_last
  from (
    select e.occurred_at
    from tally.events as e
    where e.tenant_id = p_tenant and e.occurred_at < v_tenant.events_kept_from
    order by e.occurred_at
    limit p_limit
  ) as o;
  delete from tally.events as e
  where e.tenant_id = p_tenant
    and e.occurred_at < v_tenant.events_kept_from
    and e.occurred_at <= v_last;
  get diagnostics v_events = row_count;
  select max(o.period_start) into v_last
  from (
    select s.period_start
    from tally.summaries as s
    where s.tenant_id = p_tenant
      and s.period_type = 'q'
      and s.kind = 'e'
      and s.period_start < v_tenant.quarter_hours_kept_from
    order by s.period_start
    limit p_limit
  ) as o;
  delete from tally.summaries as s
  where s.tenant_id = p_tenant
    and s.period_type = 'q'
    and s.kind = 'e'
    and s.period_start < v_tenant.quarter_hours_kept_from
    and s.period_start <= v_last;
  get diagnostics v_quarter_hours = row_count;
  delete from tally.meter_summaries as s
  where s.tenant_id = p_tenant
    and s.period_type = 'q'::"char"
    and s.period_start < v_tenant.quarter_hours_kept_from
    and v_tenant.meter_count > 0;
  return v_events + v_quarter_hours;
end
$$;
alter function tally.retention_apply owner to tally_owner;
revoke all on function tally.retention_apply from public;
comment on function tally.retention_apply is
  'Moves the retention bounds of a tenant forward and deletes up to p_limit rows of each kind behind them; returns how many.';
