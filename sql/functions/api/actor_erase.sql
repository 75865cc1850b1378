-- Erases the events of an actor and corrects every summary that they touched, in one transaction a
-- step: readers see all of a step or nothing. A step ends after p_limit events; call again with the
-- same p_erasure until done. Returns the certificate, which is kept without the actor's identity.
-- Events that arrive for the actor meanwhile stay: stop sending first, then erase. Cost: a scan of
-- the tenant's raw events, and the rebuild of the days that hold the actor's.
create function api.actor_erase(
  p_tenant uuid,
  p_actor text,
  p_erasure uuid default gen_random_uuid(),
  p_limit integer default 10000,
  p_by uuid default '00000000-0000-0000-0000-000000000000'
)
returns table (
  erasure_id uuid, done boolean, event_count bigint, first_occurred_at timestamptz,
  last_occurred_at timestamptz, day_count integer, requested_at timestamptz, finished_at timestamptz
)
language plpgsql volatile strict security definer
set search_path = ''
as $$
declare
  v_tenant tally.tenant_context;
  v_from timestamptz;
  v_days timestamptz[];
  v_day timestamptz;
  v_end timestamptz;
  v_found bigint;
  v_finished_at timestamptz;
begin
  -- From here on no events move to another partition; see tally.partition_create.
  lock table only tally.events in access share mode;
  v_tenant := tally.tenant_lock(p_tenant);
  insert into tally.erasures as r (tenant_id, erasure_id, searched_to)
  values (p_tenant, p_erasure, v_tenant.events_kept_from)
  on conflict on constraint erasures_pkey do nothing;
  if found then
    perform tally.audit('actor.erase', p_tenant, p_erasure::text, p_by);
  end if;
  select r.searched_to into v_from
  from tally.erasures as r
  where r.tenant_id = p_tenant and r.erasure_id = p_erasure;
  -- Days of meters whose raw events are gone keep their figures, without the name.
  update tally.meter_summaries as s
  set group_key = s.group_key[:k.place - 1] || format('erased %s', p_erasure) || s.group_key[k.place + 1:]
  from tally.meters as m
  cross join lateral array_position(m.dimensions, 'actorId') as k (place)
  where m.tenant_id = p_tenant
    and s.tenant_id = p_tenant
    and s.meter_id = m.meter_id
    and s.part = 'g'::"char"
    and s.group_key[k.place] = p_actor;
  select count(*), array_agg(distinct tally.period_start(f.occurred_at, 'day', v_tenant.time_zone, 1))
  into v_found, v_days
  from (
    select e.occurred_at
    from tally.events as e
    where e.tenant_id = p_tenant and e.occurred_at >= v_from and e.actor_id = p_actor
    order by e.occurred_at
    limit p_limit
  ) as f;
  foreach v_day in array coalesce(v_days, '{}')
  loop
    v_end := tally.period_end(v_day, 'day', v_tenant.time_zone, v_tenant.week_start);
    with deleted as (
      delete from tally.events as e
      where e.tenant_id = p_tenant
        and e.occurred_at >= v_day
        and e.occurred_at < v_end
        and e.actor_id = p_actor
      returning e.occurred_at
    )
    update tally.erasures as r
    set
      event_count = r.event_count + d.event_count,
      first_occurred_at = least(r.first_occurred_at, d.first_at),
      last_occurred_at = greatest(r.last_occurred_at, d.last_at),
      day_count = r.day_count + 1,
      searched_to = v_end
    from (
      select count(*) as event_count, min(occurred_at) as first_at, max(occurred_at) as last_at
      from deleted
    ) as d
    where r.tenant_id = p_tenant and r.erasure_id = p_erasure;
    perform tally.rebuild_range(p_tenant, v_day, v_end);
  end loop;
  if v_found < p_limit then
    v_finished_at := clock_timestamp();
    update tally.erasures as r
    set finished_at = coalesce(r.finished_at, v_finished_at)
    where r.tenant_id = p_tenant and r.erasure_id = p_erasure;
  end if;
  return query
  select
    r.erasure_id, r.finished_at is not null, r.event_count, r.first_occurred_at, r.last_occurred_at,
    r.day_count, r.requested_at, r.finished_at
  from tally.erasures as r
  where r.tenant_id = p_tenant and r.erasure_id = p_erasure;
end
$$;
alter function api.actor_erase owner to tally_owner;
revoke all on function api.actor_erase from public;
grant execute on function api.actor_erase to tally_service;
comment on function api.actor_erase is
  'Erases the events of an actor, a bounded step a call, with every summary they touched, and returns the certificate so far; call with the same p_erasure until done.';
