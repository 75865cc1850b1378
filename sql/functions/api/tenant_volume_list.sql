-- How much tenants have, in the order of their names, up to p_limit after a given name: events that
-- are counted, those of the last 30 days in the tenant's zone, and the date of its newest day with
-- events; as of the last fold. Cost: a row for each month and each of the last days of a tenant.
create function api.tenant_volume_list(p_after text default '', p_limit integer default 100)
returns table (
  tenant_id uuid, name text, time_zone text, created_at timestamptz, event_count numeric,
  event_count_30d numeric, newest_on date
)
language plpgsql stable strict security definer
set search_path = ''
as $$
begin
  perform tally.check_limit(p_limit);
  return query
  select t.tenant_id, t.name, t.time_zone, t.created_at, m.event_count, d.event_count, n.newest_on
  from (
    select *
    from tally.tenants as t
    where t.name > p_after and t.deleted_at is null
    order by t.name
    limit p_limit
  ) as t
  cross join lateral (
    select coalesce(sum(s.event_count), 0) as event_count
    from tally.summaries as s
    where s.tenant_id = t.tenant_id and s.period_type = 'month'::"char" and s.kind = 'all'::"char"
  ) as m
  cross join lateral (
    select coalesce(sum(s.event_count), 0) as event_count
    from tally.summaries as s
    where s.tenant_id = t.tenant_id
      and s.period_type = 'day'::"char"
      and s.kind = 'all'::"char"
      and s.period_start > now() - interval '30 days'
  ) as d
  cross join lateral (
    select tally.local_date(max(s.period_start), t.time_zone) as newest_on
    from tally.summaries as s
    where s.tenant_id = t.tenant_id and s.period_type = 'day'::"char" and s.kind = 'all'::"char"
  ) as n
  order by t.name;
end
$$;
alter function api.tenant_volume_list owner to tally_owner;
revoke all on function api.tenant_volume_list from public;
grant execute on function api.tenant_volume_list to tally_service;
comment on function api.tenant_volume_list is
  'Up to p_limit tenants by name after p_after with how many events they have, in all and in the last 30 days, and their newest day with events; as of the last fold. For the installation''s admin.';
