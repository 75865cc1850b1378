-- Which final days of a meter have moved since? As api.summary_changes: ask with the last updated_at
-- that you have seen, and get every later change once or more, never none. A week or month has moved
-- when one of its days has. Cost: an index probe and a row a change.
create function api.meter_changes(
  p_tenant uuid, p_meter text, p_since text default '-infinity', p_limit integer default 1000
)
returns table (
  part text, group_values text[], period_on date, period_start timestamptz, event_count bigint,
  value_sum numeric, unique_count bigint, final boolean, revision integer, updated_at timestamptz
)
language plpgsql stable strict security definer
set search_path = ''
as $$
declare
  v_tenant tally.tenant_context := tally.tenant_set_current(p_tenant);
  v_since timestamptz := tally.range_end(p_since, v_tenant.time_zone, 'p_since');
begin
  perform tally.check_limit(p_limit);
  perform tally.check_meter_range(v_tenant, p_meter, 'infinity');
  return query
  select
    case s.part when 'g' then 'group' when 'm' then 'missing' when 'o' then 'other' else 'total' end,
    case when s.part = 'g' then s.group_key end,
    tally.local_date(s.period_start, v_tenant.time_zone), s.period_start, s.event_count, s.value_sum,
    coalesce(round(public.hll_cardinality(s.uniques)), 0)::bigint, s.final_at is not null, s.revision,
    s.updated_at
  from tally.meter_summaries as s
  join tally.meter_versions(p_tenant, p_meter) as v
    on v.meter_id = s.meter_id
    and s.period_start >= v.covers_from
    and s.period_start < v.covers_to
  where s.tenant_id = p_tenant
    and s.updated_at > v_since
    and s.revision > 1
    and s.period_type = 'd'::"char"
  order by s.updated_at
  fetch first p_limit rows with ties;
end
$$;
alter function api.meter_changes owner to tally_tenant;
revoke all on function api.meter_changes from public;
grant execute on function api.meter_changes to tally_service, tally_owner;
comment on function api.meter_changes is
  'The days of a meter, by part and group, whose final figures have changed, or become final again, since a moment, oldest change first. Ask next with the last updated_at. TY404.';
