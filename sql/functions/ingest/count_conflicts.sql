-- How many of these events, all of which are stored now, are stored with another type, value, actor,
-- session or data? Asked only where there were duplicates. Cost: a probe of the key an event.
create function tally.count_conflicts(
  p_tenant uuid,
  p_occurred_at timestamptz[],
  p_event_id uuid[],
  p_event_type text[],
  p_value numeric[],
  p_actor_id text[],
  p_session_id text[],
  p_data jsonb[]
)
returns integer
language plpgsql volatile strict
set search_path = ''
as $$
begin
  return (
    select count(*)
    from unnest(
      p_occurred_at, p_event_id, p_event_type, p_value, p_actor_id, p_session_id, p_data
    ) as o (occurred_at, event_id, event_type, value, actor_id, session_id, data)
    join tally.events as e
      on e.tenant_id = p_tenant
      and e.occurred_at = o.occurred_at
      and e.event_id = o.event_id
    where (e.event_type, e.value, e.actor_id, e.session_id, e.data)
      is distinct from (o.event_type, o.value, o.actor_id, o.session_id, o.data));
end
$$;
alter function tally.count_conflicts owner to tally_owner;
revoke all on function tally.count_conflicts from public;
grant execute on function tally.count_conflicts to tally_tenant;
comment on function tally.count_conflicts is
  'How many of the events given as one array a field are stored with another content.';
