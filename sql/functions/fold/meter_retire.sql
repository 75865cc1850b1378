-- When a version of a meter is complete, the earlier ones stop counting and keep only the days that
-- lie before it, whose raw events were gone already.
create function tally.meter_retire(p_tenant tally.tenant_context, p_meter tally.meters) returns void
language plpgsql volatile strict
set search_path = ''
as $$
declare
  v_old uuid;
begin
  for v_old in
    update tally.meters as m
    set retired_at = clock_timestamp()
    where m.tenant_id = p_meter.tenant_id
      and m.name = p_meter.name
      and m.version < p_meter.version
      and m.retired_at is null
    returning m.meter_id
  loop
    delete from tally.meter_summaries as s
    where s.tenant_id = p_meter.tenant_id
      and s.meter_id = v_old
      and s.period_start >= p_tenant.events_kept_from;
    perform tally.derive_meter_months(
      p_tenant, v_old, p_tenant.events_kept_from, p_tenant.events_kept_from + interval '1 microsecond');
  end loop;
  update tally.tenant_state as s
  set meter_count = (
    select count(*) from tally.meters as m
    where m.tenant_id = p_meter.tenant_id and m.retired_at is null)
  where s.tenant_id = p_meter.tenant_id;
end
$$;
alter function tally.meter_retire owner to tally_owner;
revoke all on function tally.meter_retire from public;
comment on function tally.meter_retire is
  'Retires the earlier versions of a meter that is complete, under the tenant''s lock.';
