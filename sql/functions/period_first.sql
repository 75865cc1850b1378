-- The first local date of the day, week or month that holds a date, in the tenant's calendar.
create function api.period_first(p_tenant uuid, p_period_type text, p_on date) returns date
language plpgsql stable strict security definer
set search_path = ''
as $$
declare
  v_tenant tally.tenants := tally.act_for(p_tenant);
begin
  return tally.first_date(p_on, p_period_type, v_tenant.week_start);
end
$$;
alter function api.period_first owner to tally_tenant;
revoke all on function api.period_first from public;
grant execute on function api.period_first to tally_service, tally_owner;
comment on function api.period_first is
  'The first local date of the day, week or month that holds a date, by the tenant''s week start.';
