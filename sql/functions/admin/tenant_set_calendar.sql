-- Changes a tenant's time zone or week start and cuts its days, weeks and months anew, in one
-- transaction: readers see the old calendar or the new one. Only weeks where the zone stays, from
-- days; otherwise all, from quarter hours, so also where raw events are gone, but not (TY409) where
-- quarter hours are. Every final figure that this moves is told by api.summary_changes: see
-- tally.retire_summaries. Periods without a row lose final until the next finalize. With the calendar
-- that the tenant has, does nothing. Cost: one pass over the tenant's quarter hours,
-- whose local times are written anew. New sessions of its BI logins begin with the new zone.
create function tally.tenant_set_calendar(
  p_tenant uuid, p_time_zone text, p_week_start integer default 1
)
returns integer
language plpgsql volatile strict
set search_path = ''
as $$
declare
  v_old tally.tenant_context;
  v_new tally.tenant_context;
  v_other_zone boolean;
  v_told_to timestamptz;
  v_unit text;
  v_changed integer := 0;
begin
  perform tally.check_time_zone(p_time_zone);
  -- From here on no events move to another partition; see tally.partition_create.
  lock table only tally.events in access share mode;
  v_old := tally.tenant_lock(p_tenant);
  v_other_zone := p_time_zone <> v_old.time_zone;
  if not v_other_zone and p_week_start = v_old.week_start then
    return 0;
  elsif v_other_zone and isfinite(v_old.quarter_hours_kept_from) then
    raise exception using
      errcode = 'TY409',
      message = format('quarter hours are kept from %s on; days before cannot be cut anew',
        v_old.quarter_hours_kept_from);
  end if;
  perform tally.audit(
    'tenant.set_calendar', p_tenant, p_tenant::text, null,
    jsonb_build_object('time_zone', p_time_zone, 'week_start', p_week_start));
  v_told_to := greatest(
    v_old.told_to, v_old.days_finalized_to, v_old.weeks_finalized_to, v_old.months_finalized_to);
  if isfinite(v_told_to) then
    -- Whether it is told apart by its first instant or by its date.
    v_told_to := greatest(
      v_told_to, tally.day_start(tally.local_date(v_told_to, v_old.time_zone), p_time_zone));
  end if;
  update tally.tenants
  set time_zone = p_time_zone, week_start = p_week_start
  where tenant_id = p_tenant;
  update tally.tenant_state as t
  set
    -- A day that retention has cut into has no complete raw events.
    events_kept_from = tally.period_ceiling(t.events_kept_from, 'day', p_time_zone, p_week_start),
    days_finalized_to = case when v_other_zone then '-infinity' else t.days_finalized_to end,
    weeks_finalized_to = '-infinity',
    months_finalized_to = case when v_other_zone then '-infinity' else t.months_finalized_to end,
    told_to = v_told_to,
    -- Of the two revisions above all that were told, the smaller is for periods that are no more.
    late_revision = 2 + coalesce((
      select max(s.revision) from tally.summaries as s
      where s.tenant_id = p_tenant and s.revision > 1), 1)
  where t.tenant_id = p_tenant;
  v_new := tally.tenant_read(p_tenant);
  -- In this order, since weeks and months are made of days.
  foreach v_unit in array case when v_other_zone then '{day,week,month}' else '{week}' end::text[]
  loop
    v_changed := v_changed + tally.recut_summaries(v_old, v_new, v_unit);
  end loop;
  update tally.summaries as s
  set local_start = tally.local_time(s.period_start, p_time_zone)
  where s.tenant_id = p_tenant and s.local_start <> tally.local_time(s.period_start, p_time_zone);
  if v_other_zone then
    perform tally.recut_meters(v_new);
  end if;
  perform tally.bi_role_set_time_zone(p_tenant);
  return v_changed;
end
$$;
alter function tally.tenant_set_calendar owner to tally_owner;
revoke all on function tally.tenant_set_calendar from public;
comment on function tally.tenant_set_calendar is
  'Changes time zone and week start of a tenant and cuts its days, weeks and months anew in one step; final figures that move start a new revision. Returns how many rows it changed, 0 with the same calendar. TY404, TY409 for another zone where quarter hours are gone.';
