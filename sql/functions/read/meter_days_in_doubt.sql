-- Which days of a meter have to be read from raw events to know the largest groups of a range? None if
-- no group that is hidden can be as large as the last of them (p_is_ranked) and all of them are kept on
-- each day that has an `other`; else all such days.
create function tally.meter_days_in_doubt(
  p_tenant tally.tenant_context, p_meter tally.meters, p_range timestamptz[],
  p_found tally.ranked_total[], p_is_ranked boolean
)
returns timestamptz[]
language plpgsql stable strict
set search_path = ''
as $$
declare
  v_days timestamptz[];
  v_keys text[];
  v_kept bigint;
begin
  select coalesce(array_agg(s.period_start order by s.period_start), '{}') into v_days
  from tally.meter_summaries as s
  where s.tenant_id = p_tenant.tenant_id
    and s.meter_id = p_meter.meter_id
    and s.period_type = 'd'::"char"
    and s.part = 'o'::"char"
    and s.event_count > 0
    and s.period_start >= greatest(p_range[1], p_meter.filled_from)
    and s.period_start < p_range[2];
  if p_is_ranked then
    select array_agg(distinct f.group_key::text) into v_keys
    from unnest(p_found) as f
    where f.part = 'g';
    select count(*) into v_kept
    from tally.meter_summaries as s
    where s.tenant_id = p_tenant.tenant_id
      and s.meter_id = p_meter.meter_id
      and s.period_type = 'd'::"char"
      and s.part = 'g'::"char"
      and s.period_start = any (v_days)
      and s.group_key::text = any (v_keys);
    if v_kept = cardinality(v_days)::bigint * cardinality(v_keys) then
      return array[]::timestamptz[];
    end if;
  end if;
  return v_days;
end
$$;
alter function tally.meter_days_in_doubt owner to tally_owner;
revoke all on function tally.meter_days_in_doubt from public;
grant execute on function tally.meter_days_in_doubt to tally_tenant;
comment on function tally.meter_days_in_doubt is
  'The days with an `other` in a range of a meter, unless what they keep proves which groups are the largest and that nothing of them is hidden.';
