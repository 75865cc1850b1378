-- Where a tenant's data begins and ends, to the period of the given type. Cost: two probes of the
-- primary key and the deltas of about a minute.
create function tally.data_span(
  p_tenant tally.tenants, p_period_type text, out first_at timestamptz, out last_at timestamptz
)
language plpgsql stable strict
set search_path = ''
as $$
begin
  select
    least(min(s.period_start), (
      select min(tally.period_start(d.quarter_hour, p_period_type, p_tenant.time_zone, p_tenant.week_start))
      from tally.summary_deltas as d where d.tenant_id = p_tenant.tenant_id)),
    greatest(max(s.period_start), (
      select max(tally.period_start(d.quarter_hour, p_period_type, p_tenant.time_zone, p_tenant.week_start))
      from tally.summary_deltas as d where d.tenant_id = p_tenant.tenant_id))
  into first_at, last_at
  from tally.summaries as s
  where s.tenant_id = p_tenant.tenant_id
    and s.period_type = p_period_type;
end
$$;
alter function tally.data_span owner to tally_owner;
revoke all on function tally.data_span from public;
grant execute on function tally.data_span to tally_tenant;
comment on function tally.data_span is
  'The starts of the first and the last period that hold events of the tenant; NULL if there are none.';
