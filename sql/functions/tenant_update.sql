-- Changes a tenant: a default leaves its field as it is. A shorter retention removes events with the next
-- maintain; p_event_retention_days 0 keeps them for ever. Time zone and week start are changed by
-- tally.tenant_set_calendar, since that recomputes summaries.
create function api.tenant_update(
  p_tenant uuid,
  p_name text default '',
  p_event_retention_days integer default -1,
  p_rate_limits_per_minute jsonb default 'null',
  p_by uuid default '00000000-0000-0000-0000-000000000000'
)
returns table (
  tenant_id uuid, name text, time_zone text, week_start integer, event_retention_days integer,
  rate_limits_per_minute jsonb, created_at timestamptz
)
language plpgsql volatile strict security definer
set search_path = ''
as $$
begin
  if length(p_name) > 200 then
    raise exception using errcode = 'TY400', column = 'name', message = 'a name has 1 to 200 characters';
  elsif p_event_retention_days not between -1 and 36500 then
    raise exception using
      errcode = 'TY400', column = 'eventRetentionDays',
      message = 'eventRetentionDays is 1 to 36500, or 0 to keep events for ever';
  elsif p_rate_limits_per_minute <> 'null' then
    perform tally.check_rate_limits(p_rate_limits_per_minute);
  end if;
  update tally.tenants as t
  set
    name = coalesce(nullif(p_name, ''), t.name),
    event_retention = case
      when p_event_retention_days = 0 then null
      else coalesce(make_interval(days => nullif(p_event_retention_days, -1)), t.event_retention)
    end,
    rate_limits_per_minute = coalesce(nullif(p_rate_limits_per_minute, 'null'), t.rate_limits_per_minute)
  where t.tenant_id = p_tenant;
  if not found then
    raise exception using errcode = 'TY404', message = 'no such tenant';
  end if;
  perform tally.audit(
    'tenant.update', p_tenant, p_tenant::text, p_by,
    jsonb_strip_nulls(jsonb_build_object(
      'name', nullif(p_name, ''), 'event_retention_days', nullif(p_event_retention_days, -1),
      'rate_limits_per_minute', nullif(p_rate_limits_per_minute, 'null'))));
  return query select * from api.tenant_list(p_tenant => p_tenant);
exception
  when unique_violation then
    raise exception using errcode = 'TY409', column = 'name', message = 'a tenant with this name exists';
  when check_violation then
    raise exception using
      errcode = 'TY400', column = 'eventRetentionDays',
      message = 'events cannot be kept longer than quarter hours';
end
$$;
alter function api.tenant_update owner to tally_owner;
revoke all on function api.tenant_update from public;
grant execute on function api.tenant_update to tally_service;
comment on function api.tenant_update is
  'Changes name, retention or rate limits of a tenant and returns it; a default leaves its field, retention 0 keeps events for ever. TY404, TY409, TY400.';
