-- The part of a deletion that removes raw events, oldest first: up to p_limit, whose number and times
-- go on the certificate in the same statement. It goes on where it ended, since the rows removed
-- before are still in its way while somebody's old snapshot keeps them.
create function tally.tenant_remove_events(p_tenant uuid, p_limit integer) returns bigint
language plpgsql volatile strict
set search_path = ''
as $$
declare
  v_from timestamptz;
  v_last_at timestamptz;
  v_last_id uuid;
  v_count bigint;
begin
  select d.events_removed_to into v_from
  from tally.tenant_deletions as d
  where d.tenant_id = p_tenant;
  select e.occurred_at, e.event_id into v_last_at, v_last_id
  from tally.events as e
  where e.tenant_id = p_tenant and e.occurred_at >= v_from
  order by e.occurred_at, e.event_id
  offset p_limit - 1
  limit 1;
  v_last_at := coalesce(v_last_at, 'infinity');
  v_last_id := coalesce(v_last_id, 'ffffffff-ffff-ffff-ffff-ffffffffffff');
  with removed as (
    delete from tally.events as e
    where e.tenant_id = p_tenant
      and e.occurred_at >= v_from
      and e.occurred_at <= v_last_at
      and (e.occurred_at, e.event_id) <= (v_last_at, v_last_id)
    returning e.occurred_at
  )
  update tally.tenant_deletions as d
  set
    event_count = d.event_count + r.event_count,
    first_occurred_at = least(d.first_occurred_at, r.first_at),
    last_occurred_at = greatest(d.last_occurred_at, r.last_at),
    events_removed_to = coalesce(r.last_at, d.events_removed_to)
  from (
    select count(*) as event_count, min(occurred_at) as first_at, max(occurred_at) as last_at
    from removed
  ) as r
  where d.tenant_id = p_tenant
  returning r.event_count into v_count;
  return v_count;
end
$$;
alter function tally.tenant_remove_events owner to tally_owner;
revoke all on function tally.tenant_remove_events from public;
comment on function tally.tenant_remove_events is
  'Removes up to p_limit raw events of a tenant that is being deleted and notes them on its certificate; returns how many.';
