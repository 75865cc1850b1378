-- Changes a tenant: a default leaves its field as it is. A shorter retention removes events, or
-- quarter hours, with the next maintain; 0 keeps them for ever. Time zone and week start are changed
-- by tally.tenant_set_calendar, since that recomputes summaries.
create function api.tenant_update(
  p_tenant uuid,
  p_name text default '',
  p_event_retention_days integer default -1,
  p_quarter_hour_retention_days integer default -1,
  p_rate_limits_per_minute jsonb default 'null',
  p_quotas jsonb default 'null',
  p_by uuid default '00000000-0000-0000-0000-000000000000'
)
returns table (
  tenant_id uuid, name text, time_zone text, week_start integer, event_retention_days integer,
  quarter_hour_retention_days integer, rate_limits_per_minute jsonb, created_at timestamptz,
  quotas jsonb, usage jsonb
)
language plpgsql volatile strict security definer
set search_path = ''
as $$
begin
  if length(p_name) > 200 then
    raise exception using errcode = 'TY400', column = 'p_name', message = 'a name has 1 to 200 characters';
  elsif p_rate_limits_per_minute <> 'null' then
    perform tally.check_rate_limits(p_rate_limits_per_minute);
  end if;
  if p_quotas <> 'null' and not tally.is_quotas(p_quotas) then
    raise exception using
      errcode = 'TY400', column = 'p_quotas', message = 'quotas are {"quota": number}',
      hint = format(
        'Quotas are %s; numbers are whole, 0 to 1,000,000,000,000,000.',
        array_to_string(tally.quota_names(), ', '));
  end if;
  update tally.tenants as t
  set
    name = coalesce(nullif(p_name, ''), t.name),
    event_retention = case
      when p_event_retention_days = -1 then t.event_retention
      else tally.retention_interval(p_event_retention_days, 'p_event_retention_days')
    end,
    quarter_hour_retention = case
      when p_quarter_hour_retention_days = -1 then t.quarter_hour_retention
      else tally.retention_interval(p_quarter_hour_retention_days, 'p_quarter_hour_retention_days')
    end,
    rate_limits_per_minute = coalesce(nullif(p_rate_limits_per_minute, 'null'), t.rate_limits_per_minute),
    quotas = coalesce(nullif(p_quotas, 'null'), t.quotas)
  where t.tenant_id = p_tenant and t.deleted_at is null;
  if not found then
    perform tally.tenant_read(p_tenant);
  end if;
  perform tally.audit(
    'tenant.update', p_tenant, p_tenant::text, p_by,
    jsonb_strip_nulls(jsonb_build_object(
      'name', nullif(p_name, ''), 'event_retention_days', nullif(p_event_retention_days, -1),
      'quarter_hour_retention_days', nullif(p_quarter_hour_retention_days, -1),
      'rate_limits_per_minute', nullif(p_rate_limits_per_minute, 'null'),
      'quotas', nullif(p_quotas, 'null'))));
  return query select * from api.tenant_list(p_tenant => p_tenant);
exception
  when check_violation then
    raise exception using
      errcode = 'TY400', column = 'p_event_retention_days',
      message = 'events cannot be kept longer than quarter hours';
end
$$;
alter function api.tenant_update owner to tally_owner;
revoke all on function api.tenant_update from public;
grant execute on function api.tenant_update to tally_service;
comment on function api.tenant_update is
  'Changes name, retention, rate limits or quotas of a tenant and returns it; a default leaves its field, retention 0 keeps for ever. TY404, TY410, TY400.';
