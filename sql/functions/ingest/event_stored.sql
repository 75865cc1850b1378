-- The event that is stored under an id and time, in the form of POST /events.
create function tally.event_stored(p_tenant uuid, p_occurred_at timestamptz, p_event_id uuid)
returns text
language plpgsql volatile strict
set search_path = ''
as $$
begin
  return (
    select jsonb_build_object(
      'type', e.event_type, 'actorId', e.actor_id, 'sessionId', e.session_id, 'value', e.value,
      'data', e.data)
    from tally.events as e
    where e.tenant_id = p_tenant and e.occurred_at = p_occurred_at and e.event_id = p_event_id);
end
$$;
alter function tally.event_stored owner to tally_owner;
revoke all on function tally.event_stored from public;
grant execute on function tally.event_stored to tally_tenant;
comment on function tally.event_stored is 'The stored event with this id and time as JSON text; NULL if there is none.';
