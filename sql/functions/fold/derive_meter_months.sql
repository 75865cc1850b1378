-- Makes the months of a meter that touch a range anew from its days. They only shorten reading: what
-- is final, and which revision, is known by the days. The caller holds the tenant's lock.
create function tally.derive_meter_months(
  p_tenant tally.tenant_context, p_meter uuid, p_from timestamptz, p_to timestamptz
)
returns void
language plpgsql volatile strict
set search_path = ''
as $$
declare
  v_from timestamptz := tally.period_start(p_from, 'month', p_tenant.time_zone, p_tenant.week_start);
  v_to timestamptz := tally.period_ceiling(p_to, 'month', p_tenant.time_zone, p_tenant.week_start);
begin
  delete from tally.meter_summaries as s
  where s.tenant_id = p_tenant.tenant_id
    and s.meter_id = p_meter
    and s.period_type = 'm'::"char"
    and s.period_start >= v_from
    and s.period_start < v_to;
  insert into tally.meter_summaries (
    tenant_id, meter_id, period_type, part, period_start, group_key, event_count, value_count,
    value_sum, value_min, value_max, value_errors, uniques, largest_group, value_histogram
  )
  select
    s.tenant_id, s.meter_id, 'm', s.part,
    tally.period_start(s.period_start, 'month', p_tenant.time_zone, p_tenant.week_start),
    s.group_key, sum(s.event_count), sum(s.value_count), sum(s.value_sum), min(s.value_min),
    max(s.value_max), sum(s.value_errors), public.hll_union_agg(s.uniques), sum(s.largest_group),
    tally.histogram_compact(string_agg(s.value_histogram, ''))
  from tally.meter_summaries as s
  where s.tenant_id = p_tenant.tenant_id
    and s.meter_id = p_meter
    and s.period_type = 'd'::"char"
    and s.period_start >= v_from
    and s.period_start < v_to
    and s.event_count > 0
  group by s.tenant_id, s.meter_id, s.part, 5, s.group_key;
end
$$;
alter function tally.derive_meter_months owner to tally_owner;
revoke all on function tally.derive_meter_months from public;
comment on function tally.derive_meter_months is
  'Makes the months of a meter that touch a range anew from its days, under the tenant''s lock.';
