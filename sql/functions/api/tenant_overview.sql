-- What a page about a tenant begins with: its name and calendar, today's date there, the dates of its
-- first and newest day with events, and up to which date its days are final, that is checked against
-- the raw events after they had ended, and when the last of them was. Late events that are not
-- checked yet count. Cost: a few probes of indexes.
create function api.tenant_overview(p_tenant uuid)
returns table (
  name text, time_zone text, week_start integer, today date, first_on date, newest_on date,
  final_to date, final_at timestamptz
)
language plpgsql stable strict security definer
set search_path = ''
as $$
declare
  v_tenant tally.tenant_context := tally.tenant_set_current(p_tenant);
  v_zone text := v_tenant.time_zone;
  v_extent record := tally.summary_extent(v_tenant, 'day');
  v_final_to timestamptz := least(
    v_tenant.days_finalized_to,
    (
      select min(s.period_start)
      from tally.summaries as s
      where s.tenant_id = p_tenant
        and s.period_type = 'day'::"char"
        and s.final_at is null
        and s.period_type <> 'q'
    ),
    (
      select tally.period_start(min(d.quarter_hour), 'day', v_zone, v_tenant.week_start)
      from tally.summary_deltas as d
      where d.tenant_id = p_tenant
    ));
begin
  return query
  select
    t.name, t.time_zone, t.week_start::integer, tally.local_date(now(), v_zone),
    tally.local_date(v_extent.first_at, v_zone), tally.local_date(v_extent.last_at, v_zone),
    case when isfinite(v_final_to) then tally.local_date(v_final_to, v_zone) end,
    (
      select s.final_at
      from tally.summaries as s
      where s.tenant_id = p_tenant
        and s.period_type = 'day'::"char"
        and s.kind = 'all'::"char"
        and s.period_start < v_final_to
      order by s.period_start desc
      limit 1
    )
  from tally.tenants as t
  where t.tenant_id = p_tenant;
end
$$;
alter function api.tenant_overview owner to tally_tenant;
revoke all on function api.tenant_overview from public;
grant execute on function api.tenant_overview to tally_service, tally_owner;
comment on function api.tenant_overview is
  'Name, calendar and today''s date of a tenant, its first and newest day with events, and final_to, before which every day is final, with when the last of those was checked. TY404, TY410.';
