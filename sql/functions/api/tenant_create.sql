-- Makes a tenant and its first key, which is shown this once, so that neither is made without the
-- other. The key has all scopes. The name is a label: another tenant may have it too.
create function api.tenant_create(
  p_name text,
  p_time_zone text default 'UTC',
  p_week_start integer default 1,
  p_event_retention_days integer default null,
  p_quarter_hour_retention_days integer default null,
  p_by uuid default null
)
returns table (
  tenant_id uuid, name text, time_zone text, week_start integer, event_retention_days integer,
  quarter_hour_retention_days integer, rate_limits_per_minute jsonb, created_at timestamptz,
  quotas jsonb, usage jsonb, api_key text
)
language plpgsql volatile security definer
set search_path = ''
as $$
declare
  v_id uuid;
begin
  if length(p_name) between 1 and 200 is not true then
    raise exception using errcode = 'TY400', column = 'p_name', message = 'a name has 1 to 200 characters';
  elsif p_week_start between 1 and 7 is not true then
    raise exception using
      errcode = 'TY400', column = 'p_week_start', message = 'a week starts on an ISO weekday, 1 Monday to 7 Sunday';
  elsif p_time_zone is null then
    raise exception using errcode = 'TY400', column = 'p_time_zone', message = 'a tenant has a time zone';
  end if;
  insert into tally.tenants as t (name, time_zone, week_start, event_retention, quarter_hour_retention)
  values (
    p_name, tally.check_time_zone(p_time_zone), p_week_start,
    tally.retention_interval(p_event_retention_days, 'p_event_retention_days'),
    tally.retention_interval(p_quarter_hour_retention_days, 'p_quarter_hour_retention_days'))
  returning t.tenant_id into v_id;
  insert into tally.tenant_state (tenant_id) values (v_id);
  perform tally.audit('tenant.create', v_id, v_id::text, p_by);
  return query
  select l.*, k.api_key
  from api.tenant_list(p_tenant => v_id) as l
  cross join tally.key_make(v_id, 'default', tally.scopes(), p_by => p_by) as k;
exception
  when check_violation then
    raise exception using
      errcode = 'TY400', column = 'p_quarter_hour_retention_days',
      message = 'quarter hours are kept as long as events, or longer';
end
$$;
alter function api.tenant_create owner to tally_owner;
revoke all on function api.tenant_create from public;
grant execute on function api.tenant_create to tally_service;
comment on function api.tenant_create is
  'Makes a tenant and its first key, shown this once, and returns both. Retention NULL keeps for ever. TY400 for bad arguments.';
