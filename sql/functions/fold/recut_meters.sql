-- After a change of calendar: the days of a tenant's meters are filled anew from raw events, in the new
-- zone, and answered from them until then. Figures that were final and whose day is no more stay with
-- 0 and a new revision, unless they name an actor or a session, since erased names must go. TY409
-- where a meter has days whose raw events are gone. The caller holds the tenant's lock.
create function tally.recut_meters(p_tenant tally.tenant_context) returns void
language plpgsql volatile strict
set search_path = ''
as $$
declare
  v_id uuid := p_tenant.tenant_id;
  v_zone text := p_tenant.time_zone;
  v_at timestamptz := clock_timestamp();
begin
  if p_tenant.meter_count = 0 then
    return;
  elsif exists (
    select from tally.meter_summaries as s
    join tally.meters as m on m.tenant_id = v_id and m.meter_id = s.meter_id and m.deleted_at is null
    where s.tenant_id = v_id
      and s.period_type = 'd'::"char"
      and s.period_start < p_tenant.events_kept_from)
  then
    raise exception using
      errcode = 'TY409',
      message = format('meters have days before %s, whose raw events are gone; they cannot be cut anew',
        to_json(p_tenant.events_kept_from)),
      hint = 'Delete the meters first, if their figures are not needed.';
  end if;
  delete from tally.meter_summaries as s
  where s.tenant_id = v_id
    and (
      -- Quarter hours too: of a day that loses its events before it is filled nothing else would tell.
      s.period_type in ('q', 'm')
      or s.period_type = 'd'::"char" and s.final_at is null and s.revision = 1
      -- An erasure would not come by.
      or s.period_type = 'd'::"char"
        and s.part = 'g'::"char"
        and s.period_start <> tally.period_start(s.period_start, 'day', v_zone, p_tenant.week_start)
        and exists (
          select from tally.meters as m
          where m.tenant_id = v_id
            and m.meter_id = s.meter_id
            and m.dimensions && array['actorId', 'sessionId']));
  update tally.meter_summaries as s
  set
    event_count = 0,
    value_count = 0,
    value_sum = null,
    value_min = null,
    value_max = null,
    value_errors = 0,
    uniques = null,
    value_histogram = null,
    largest_group = 0,
    revision = s.revision + (s.final_at is not null)::integer,
    updated_at = v_at,
    final_at = null
  where s.tenant_id = v_id
    and s.period_type = 'd'::"char"
    and s.period_start <> tally.period_start(s.period_start, 'day', v_zone, p_tenant.week_start);
  update tally.meters as m
  set filled_from = 'infinity', filled_at = null
  where m.tenant_id = v_id and m.retired_at is null;
end
$$;
alter function tally.recut_meters owner to tally_owner;
revoke all on function tally.recut_meters from public;
comment on function tally.recut_meters is
  'Makes the meters of a tenant fill their days anew after a change of calendar, under the tenant''s lock. TY409 where raw events of their days are gone.';
