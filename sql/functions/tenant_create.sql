-- Makes a tenant. TY409 if the name is taken.
create function api.tenant_create(
  p_name text,
  p_time_zone text default 'UTC',
  p_week_start integer default 1,
  p_event_retention_days integer default null,
  p_by uuid default null
)
returns table (
  tenant_id uuid, name text, time_zone text, week_start integer, event_retention_days integer,
  created_at timestamptz
)
language plpgsql volatile security definer
set search_path = ''
as $$
declare
  v_made tally.tenants;
begin
  if length(p_name) between 1 and 200 is not true then
    raise exception using errcode = 'TY400', column = 'name', message = 'a name has 1 to 200 characters';
  elsif p_week_start between 1 and 7 is not true then
    raise exception using
      errcode = 'TY400', column = 'weekStart', message = 'weekStart is an ISO weekday, 1 Monday to 7 Sunday';
  elsif p_event_retention_days not between 1 and 36500 then
    raise exception using
      errcode = 'TY400', column = 'eventRetentionDays', message = 'eventRetentionDays is 1 to 36500, or null';
  elsif p_time_zone is null then
    raise exception using errcode = 'TY400', column = 'timezone', message = 'a tenant has a time zone';
  end if;
  insert into tally.tenants (name, time_zone, week_start, event_retention)
  values (
    p_name, tally.check_time_zone(p_time_zone), p_week_start, make_interval(days => p_event_retention_days))
  returning * into v_made;
  perform tally.audit('tenant.create', v_made.tenant_id, v_made.tenant_id::text, p_by);
  return query
  select
    v_made.tenant_id, v_made.name, v_made.time_zone, v_made.week_start::integer, p_event_retention_days,
    v_made.created_at;
exception when unique_violation then
  raise exception using errcode = 'TY409', column = 'name', message = 'a tenant with this name exists';
end
$$;
alter function api.tenant_create owner to tally_owner;
revoke all on function api.tenant_create from public;
grant execute on function api.tenant_create to tally_service;
comment on function api.tenant_create is
  'Makes a tenant and returns it. TY400 for bad arguments, TY409 if the name is taken.';
