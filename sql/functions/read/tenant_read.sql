-- What functions have to know of a tenant, as the calling statement's snapshot sees it. One that is
-- marked for deletion is gone for everybody: see tally.tenant_remove.
create function tally.tenant_read(p_tenant uuid) returns tally.tenant_context
language plpgsql stable strict
set search_path = ''
as $$
declare
  v_tenant tally.tenant_context;
begin
  select
    t.tenant_id, t.time_zone, t.week_start, t.event_retention, t.quarter_hour_retention,
    s.events_kept_from, s.quarter_hours_kept_from, s.days_finalized_to, s.weeks_finalized_to,
    s.months_finalized_to, s.meter_count, s.told_to, s.late_revision,
    (t.quotas ->> 'events')::bigint, (s.usage ->> 'events')::bigint
  into v_tenant
  from tally.tenants as t
  join tally.tenant_state as s on s.tenant_id = t.tenant_id
  where t.tenant_id = p_tenant and s.tenant_id = p_tenant and t.deleted_at is null;
  if not found then
    if exists (select from tally.tenant_deletions as d where d.tenant_id = p_tenant) then
      raise exception using errcode = 'TY410', message = 'the tenant was deleted';
    end if;
    raise exception using errcode = 'TY404', message = 'no such tenant';
  end if;
  return v_tenant;
end
$$;
alter function tally.tenant_read owner to tally_owner;
revoke all on function tally.tenant_read from public;
grant execute on function tally.tenant_read to tally_tenant, tally_bi;
comment on function tally.tenant_read is 'The context of a tenant; TY404 if there is none, TY410 if it was deleted.';
