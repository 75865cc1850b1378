-- Tenants in the order of their names, up to p_limit after a given name, or one by its id. Those of the
-- same name come together, even beyond p_limit, so that the next page misses none. A deleted one is
-- not among them: tally.tenant_deletion_list.
create function api.tenant_list(
  p_after text default '', p_limit integer default 1000,
  p_tenant uuid default '00000000-0000-0000-0000-000000000000'
)
returns table (
  tenant_id uuid, name text, time_zone text, week_start integer, event_retention_days integer,
  quarter_hour_retention_days integer, rate_limits_per_minute jsonb, created_at timestamptz,
  quotas jsonb, usage jsonb
)
language plpgsql stable strict security definer
set search_path = ''
as $$
begin
  perform tally.check_limit(p_limit);
  if p_tenant <> '00000000-0000-0000-0000-000000000000' then
    perform tally.tenant_read(p_tenant);
  end if;
  return query
  select
    t.tenant_id, t.name, t.time_zone, t.week_start::integer,
    extract(day from t.event_retention)::integer,
    extract(day from t.quarter_hour_retention)::integer, t.rate_limits_per_minute, t.created_at,
    t.quotas, case when t.quotas <> '{}' then s.usage else '{}' end
  from tally.tenants as t
  join tally.tenant_state as s on s.tenant_id = t.tenant_id
  where t.name > p_after
    and t.deleted_at is null
    and (p_tenant = '00000000-0000-0000-0000-000000000000' or t.tenant_id = p_tenant)
  order by t.name
  fetch first p_limit rows with ties;
end
$$;
alter function api.tenant_list owner to tally_owner;
revoke all on function api.tenant_list from public;
grant execute on function api.tenant_list to tally_service;
comment on function api.tenant_list is
  'Up to p_limit tenants by name after p_after, and those that share the last name, or the one with id p_tenant: TY404, TY410 if it was deleted. For the installation''s admin.';
