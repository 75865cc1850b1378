-- One step of filling: counts days of the tenant's meters that raw events of before their creation
-- belong to, the newest first, for about p_for and at least one, in the caller's transaction; and
-- removes rows of deleted ones. A day that is filled is answered from the meter from then on. When no
-- older events are left the meter is complete, and earlier versions of it retire. Returns how many
-- days, 0 when there is nothing to do.
create function tally.fill_meters(p_tenant uuid, p_for interval default '500 ms')
returns integer
language plpgsql volatile strict
set search_path = ''
as $$
declare
  v_until timestamptz;
  v_tenant tally.tenant_context;
  v_meter tally.meters;
  v_zone text;
  v_at timestamptz;
  v_day timestamptz;
  v_month timestamptz;
  v_days integer := 0;
begin
  -- From here on no events move to another partition; see tally.partition_create.
  lock table only tally.events in access share mode;
  v_tenant := tally.tenant_lock(p_tenant);
  -- Not before: the lock may have taken longer than that.
  v_until := clock_timestamp() + p_for;
  v_zone := v_tenant.time_zone;
  v_days := tally.remove_deleted_meters(p_tenant);
  loop
    exit when v_days > 0 and clock_timestamp() > v_until;
    select * into v_meter
    from tally.meters as m
    where m.tenant_id = p_tenant and m.filled_at is null and m.retired_at is null
    order by m.created_at, m.meter_id
    limit 1;
    exit when not found;
    if not isfinite(v_meter.filled_from) then
      -- No event lies further ahead.
      v_meter.filled_from := tally.period_end(now() + interval '1 hour', 'day', v_zone, 1);
    end if;
    -- A day is visited also where the meter counts what is there no more: its events were erased, or a
    -- change of calendar moved them to another day.
    select greatest(
      (
        select max(e.occurred_at)
        from tally.events as e
        where e.tenant_id = p_tenant
          and e.occurred_at < v_meter.filled_from
          and e.occurred_at >= v_tenant.events_kept_from
      ), (
        select max(s.period_start)
        from tally.meter_summaries as s
        where s.tenant_id = p_tenant
          and s.meter_id = v_meter.meter_id
          and s.period_type = 'd'::"char"
          and s.part = 't'::"char"
          and s.event_count > 0
          and s.period_start < v_meter.filled_from
          and s.period_start >= v_tenant.events_kept_from
      ), (
        select max(d.quarter_hour)
        from tally.meter_deltas as d
        where d.tenant_id = p_tenant
          and d.meter_id = v_meter.meter_id
          and d.quarter_hour < v_meter.filled_from
          and d.quarter_hour >= v_tenant.events_kept_from
      ))
    into v_at;
    v_day := tally.period_start(v_at, 'day', v_zone, 1);
    if v_day is null then
      update tally.meters
      set
        filled_from = least(v_meter.filled_from, v_tenant.events_kept_from),
        filled_at = clock_timestamp()
      where tenant_id = p_tenant and meter_id = v_meter.meter_id;
      perform tally.meter_retire(v_tenant, v_meter);
    else
      perform tally.recount_meter(
        v_tenant, v_meter, v_day, tally.period_end(v_day, 'day', v_zone, 1));
      update tally.meter_summaries as s
      set final_at = clock_timestamp()
      where s.tenant_id = p_tenant
        and s.meter_id = v_meter.meter_id
        and s.period_type = 'd'::"char"
        and s.period_start = v_day
        and s.period_start < v_tenant.days_finalized_to
        and s.final_at is null;
      update tally.meters
      set filled_from = v_day
      where tenant_id = p_tenant and meter_id = v_meter.meter_id;
    end if;
    -- A month is complete with its first day, or when it is left behind.
    v_month := tally.period_start(v_day, 'month', v_zone, 1);
    if v_day is null
      or v_day = v_month
      or v_month <> tally.period_start(v_meter.filled_from, 'month', v_zone, 1)
    then
      perform tally.derive_meter_months(
        v_tenant, v_meter.meter_id,
        case when v_day = v_month then v_day else v_meter.filled_from end,
        v_meter.filled_from + interval '1 microsecond');
    end if;
    v_days := v_days + 1;
  end loop;
  return v_days;
end
$$;
alter function tally.fill_meters owner to tally_owner;
revoke all on function tally.fill_meters from public;
comment on function tally.fill_meters is
  'Fills days of a tenant''s meters from raw events, the newest first, for about half a second; returns how many, 0 when all are filled.';
