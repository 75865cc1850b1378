-- One step of rebuild: makes every summary that touches a range of whole local days equal to the
-- raw events, in the caller's transaction. Deltas of the range are taken and raw events read by one
-- statement, so by one snapshot: an event that commits meanwhile brings its own delta. The deltas are
-- folded first, so that what counts as changed is what summaries and deltas together had wrong. The
-- tenant's lock keeps fold away until the end.
create function tally.rebuild_range(p_tenant uuid, p_from timestamptz, p_to timestamptz)
returns integer
language plpgsql volatile strict
set search_path = ''
as $$
declare
  v_tenant tally.tenant_context;
  v_from timestamptz;
  v_to timestamptz;
  v_waiting tally.summaries[];
  v_rows tally.summaries[];
  v_changed integer;
begin
  -- From here on no events move to another partition; see tally.partition_create.
  lock table only tally.events in access share mode;
  v_tenant := tally.tenant_lock(p_tenant);
  v_from := tally.period_start(p_from, 'day', v_tenant.time_zone, v_tenant.week_start);
  v_to := tally.period_ceiling(p_to, 'day', v_tenant.time_zone, v_tenant.week_start);
  if v_from < v_tenant.events_kept_from then
    raise exception using
      errcode = 'TY409',
      message = format('raw events are kept from %s on; rebuilding %s would erase history',
        v_tenant.events_kept_from, v_from);
  end if;
  with taken as (
    delete from tally.summary_deltas as d
    where d.tenant_id = p_tenant and d.quarter_hour >= v_from and d.quarter_hour < v_to
    returning *
  ),
  waiting as (
    select
      p_tenant, 'quarter_hour'::"char", 'event_type'::"char", t.quarter_hour, t.event_type,
      sum(t.event_count)::bigint, sum(t.value_count)::bigint, sum(t.value_sum), min(t.value_min),
      max(t.value_max), tally.hashes_hll(string_agg(t.actor_hashes, '')), 1, now(),
      null::timestamptz, null::timestamp, null::date, null::bigint
    from taken as t
    group by t.quarter_hour, t.event_type
  ),
  counted as (
    select
      p_tenant, 'quarter_hour'::"char", 'event_type'::"char",
      date_bin('15 minutes', e.occurred_at, timestamptz 'epoch'), e.event_type, count(*),
      count(e.value), sum(e.value), min(e.value), max(e.value),
      public.hll_add_agg(tally.actor_hash(e.actor_id)::public.hll_hashval, 14, 5)
        filter (where e.actor_id is not null),
      1, now(), null::timestamptz, null::timestamp, null::date, null::bigint
    from tally.events as e
    where e.tenant_id = p_tenant and e.occurred_at >= v_from and e.occurred_at < v_to
    group by 4, e.event_type
  )
  select
    coalesce((select array_agg(row(w.*)::tally.summaries) from waiting as w), '{}'),
    coalesce((select array_agg(row(c.*)::tally.summaries) from counted as c), '{}')
  into v_waiting, v_rows;
  perform tally.add_summaries(v_tenant, v_waiting);
  v_changed := tally.replace_summaries(v_tenant, 'quarter_hour', v_from, v_to, v_rows);
  v_changed := v_changed + tally.derive_summaries(v_tenant, 'day', v_from, v_to);
  v_changed := v_changed + tally.derive_summaries(v_tenant, 'week', v_from, v_to);
  v_changed := v_changed + tally.derive_summaries(v_tenant, 'month', v_from, v_to);
  return v_changed + tally.recount_meters(v_tenant, v_from, v_to, false);
end
$$;
alter function tally.rebuild_range owner to tally_owner;
revoke all on function tally.rebuild_range from public;
comment on function tally.rebuild_range is
  'Makes the summaries of the local days that touch a range equal to the raw events; returns how many rows differed, deltas not yet folded taken into account. TY409 where raw events are gone.';
