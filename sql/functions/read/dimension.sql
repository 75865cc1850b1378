-- What an event is grouped by: its type, actor, session or a property of its data, as text; p_found is
-- data #> tally.property_path(p_name). NULL where it has none. Inlined, so that a name that the planner
-- knows costs nothing.
create function tally.dimension(
  p_name text, p_event_type text, p_actor_id text, p_session_id text, p_found jsonb
)
returns text
language sql immutable parallel safe
as $$
  select case p_name
    when 'type' then p_event_type
    when 'actorId' then p_actor_id
    when 'sessionId' then p_session_id
    else tally.group_text(p_found)
  end
$$;
alter function tally.dimension owner to tally_owner;
revoke all on function tally.dimension from public;
grant execute on function tally.dimension to tally_tenant;
comment on function tally.dimension is
  'The value of type, actorId, sessionId or data.<path> of an event, as text; NULL where it has none.';
