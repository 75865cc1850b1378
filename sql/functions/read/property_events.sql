-- The events that a question about properties reads, each with its group, number and the hash of what
-- is counted distinct: what raw totals and meters are made of, so that they agree. Inlined into the
-- query that calls it.
create function tally.property_events(
  p_tenant uuid, p_from timestamptz, p_to timestamptz, p_types text[], p_filter jsonpath,
  p_actor text, p_by text[], p_of text, p_unique text
)
returns table (
  occurred_at timestamptz, event_id uuid, group_key text[], number numeric, is_error boolean,
  unique_hash bigint
)
language sql stable parallel safe
as $$
  select
    e.occurred_at,
    e.event_id,
    tally.group_key(
      p_by, e.event_type, e.actor_id, e.session_id, e.data #> tally.property_path(p_by[1]),
      e.data #> tally.property_path(p_by[2]), e.data #> tally.property_path(p_by[3])),
    tally.number_of(p_of, e.value, e.data #> tally.property_path(p_of)),
    tally.is_no_number(p_of, e.data #> tally.property_path(p_of)),
    tally.actor_hash(tally.dimension(
      p_unique, e.event_type, e.actor_id, e.session_id, e.data #> tally.property_path(p_unique)))
  from tally.events as e
  where e.tenant_id = p_tenant
    and e.occurred_at >= p_from
    and e.occurred_at < p_to
    and (p_types = '{}' or e.event_type = any (p_types))
    and (p_filter is null or e.data @@ p_filter)
    and (p_actor is null or e.actor_id = p_actor)
$$;
alter function tally.property_events owner to tally_owner;
revoke all on function tally.property_events from public;
grant execute on function tally.property_events to tally_tenant;
comment on function tally.property_events is
  'The events of a range with their group, number and distinct hash.';
