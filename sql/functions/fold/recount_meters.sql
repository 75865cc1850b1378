-- Makes the filled days of a tenant's meters that touch a range equal to the raw events, and their
-- months. Marks the days as final, by the clock after they were counted, if finalize has passed them
-- already, since finalize looks for days whose summaries are open, not for those where only a meter was
-- wrong; with p_final all of them. The caller holds the tenant's lock and that of tally.events, and names
-- whole local days whose raw events are there.
create function tally.recount_meters(
  p_tenant tally.tenant_context, p_from timestamptz, p_to timestamptz, p_final boolean
)
returns integer
language plpgsql volatile
set search_path = ''
as $$
declare
  v_meter tally.meters;
  v_day timestamptz;
  v_end timestamptz;
  v_wrong integer := 0;
  v_counted_at timestamptz;
begin
  if p_tenant.meter_count = 0 then
    return 0;
  end if;
  for v_meter in
    select * from tally.meters as m
    where m.tenant_id = p_tenant.tenant_id and m.retired_at is null and m.filled_from < p_to
  loop
    v_day := greatest(p_from, v_meter.filled_from);
    while v_day < p_to
    loop
      v_end := tally.period_end(v_day, 'day', p_tenant.time_zone, p_tenant.week_start);
      v_wrong := v_wrong + tally.recount_meter(p_tenant, v_meter, v_day, v_end)::integer;
      v_day := v_end;
    end loop;
    perform tally.derive_meter_months(
      p_tenant, v_meter.meter_id, greatest(p_from, v_meter.filled_from), p_to);
    v_counted_at := clock_timestamp();
    update tally.meter_summaries as s
    set
      final_at = v_counted_at,
      updated_at = case when s.revision > 1 then v_counted_at else s.updated_at end
    where (p_final or s.period_start < p_tenant.days_finalized_to)
      and s.tenant_id = p_tenant.tenant_id
      and s.meter_id = v_meter.meter_id
      and s.period_type = 'd'::"char"
      and s.period_start >= greatest(p_from, v_meter.filled_from)
      and s.period_start < p_to
      and s.final_at is null;
  end loop;
  return v_wrong;
end
$$;
alter function tally.recount_meters owner to tally_owner;
revoke all on function tally.recount_meters from public;
comment on function tally.recount_meters is
  'Makes the filled days of a tenant''s meters in a range of whole days equal to the raw events, under the tenant''s lock; returns how many days had a wrong total.';
