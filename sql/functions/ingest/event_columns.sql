-- A good event given as JSON (tally.event_errors), as the columns that are stored. An event without a
-- time has that of its UUIDv7 or else p_now; one without an id gets one.
create function tally.event_columns(
  p_event json, p_now timestamptz,
  out occurred_at timestamptz, out event_id uuid, out event_type text, out value numeric,
  out actor_id text, out session_id text, out data jsonb
)
language plpgsql volatile strict
set search_path = ''
as $$
begin
  event_id := (p_event ->> 'id')::uuid;
  occurred_at := coalesce(
    tally.parse_instant(p_event ->> 'occurredAt'), tally.uuid7_time(event_id), p_now);
  event_id := coalesce(event_id, tally.uuid7(p_now));
  event_type := p_event ->> 'type';
  value := (p_event ->> 'value')::numeric;
  actor_id := p_event ->> 'actorId';
  session_id := p_event ->> 'sessionId';
  data := coalesce(nullif((p_event -> 'data')::jsonb, 'null'), '{}');
end
$$;
alter function tally.event_columns owner to tally_owner;
revoke all on function tally.event_columns from public;
grant execute on function tally.event_columns to tally_tenant;
comment on function tally.event_columns is 'The columns of an event given as JSON that has no errors.';
