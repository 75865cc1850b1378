-- Changes a tenant's time zone or week start and recomputes its days, weeks and months from quarter
-- hours, in one transaction: readers see the old calendar or the new one. Works also where raw
-- events are gone; refuses (TY409) where quarter hours are. All periods lose final until the next
-- finalize. Cost: one pass over the tenant's quarter hours, whose local times are written anew.
-- New sessions of its BI logins begin with the new zone.
create function tally.tenant_set_calendar(
  p_tenant uuid, p_time_zone text, p_week_start integer default 1
)
returns integer
language plpgsql volatile strict
set search_path = ''
as $$
declare
  v_tenant tally.tenant_context;
  v_kept_from timestamptz;
  v_changed integer;
begin
  perform tally.check_time_zone(p_time_zone);
  -- From here on no events move to another partition; see tally.partition_create.
  lock table only tally.events in access share mode;
  v_tenant := tally.tenant_lock(p_tenant);
  if isfinite(v_tenant.quarter_hours_kept_from) then
    raise exception using
      errcode = 'TY409',
      message = format('quarter hours are kept from %s on; days before cannot be cut anew',
        v_tenant.quarter_hours_kept_from);
  end if;
  perform tally.audit(
    'tenant.set_calendar', p_tenant, p_tenant::text, null,
    jsonb_build_object('time_zone', p_time_zone, 'week_start', p_week_start));
  -- A day that retention has cut into has no complete raw events.
  v_kept_from := tally.period_ceiling(v_tenant.events_kept_from, 'day', p_time_zone, p_week_start);
  update tally.tenants
  set time_zone = p_time_zone, week_start = p_week_start
  where tenant_id = p_tenant;
  update tally.tenant_state
  set
    events_kept_from = v_kept_from,
    days_finalized_to = '-infinity',
    weeks_finalized_to = '-infinity',
    months_finalized_to = '-infinity'
  where tenant_id = p_tenant;
  v_tenant := tally.tenant_read(p_tenant);
  delete from tally.summaries
  where tenant_id = p_tenant and period_type in ('d', 'w', 'm');
  v_changed := tally.derive_summaries(v_tenant, 'day', '-infinity', 'infinity');
  v_changed := v_changed + tally.derive_summaries(v_tenant, 'week', '-infinity', 'infinity');
  v_changed := v_changed + tally.derive_summaries(v_tenant, 'month', '-infinity', 'infinity');
  update tally.summaries as s
  set local_start = tally.local_time(s.period_start, p_time_zone)
  where s.tenant_id = p_tenant and s.local_start <> tally.local_time(s.period_start, p_time_zone);
  perform tally.recut_meters(v_tenant);
  perform tally.bi_role_set_time_zone(p_tenant);
  return v_changed;
end
$$;
alter function tally.tenant_set_calendar owner to tally_owner;
revoke all on function tally.tenant_set_calendar from public;
comment on function tally.tenant_set_calendar is
  'Changes time zone and week start of a tenant and recomputes its days, weeks and months in one step; returns how many rows it made. TY404, TY409 where quarter hours are gone.';
