-- Tries rejected events again by today's rules, all or those named, up to 10,000 at once: those that
-- are good now are stored and leave the table, in one transaction; the others stay with their
-- errors of today. An event without a time and an id is given the time of its rejection.
create function api.rejected_replay(p_tenant uuid, p_rejected_ids bigint[] default '{}')
returns table (accepted integer, duplicates integer, conflicts integer, rejected integer)
language plpgsql volatile strict security definer
set search_path = ''
as $$
declare
  v_tenant tally.tenant_context := tally.tenant_write(p_tenant);
  v_row record;
  v_errors jsonb;
  v_event record;
  v_ids bigint[] := array[]::bigint[];
  v_occurred_at timestamptz[] := array[]::timestamptz[];
  v_event_id uuid[] := array[]::uuid[];
  v_event_type text[] := array[]::text[];
  v_value numeric[] := array[]::numeric[];
  v_actor_id text[] := array[]::text[];
  v_session_id text[] := array[]::text[];
  v_data jsonb[] := array[]::jsonb[];
begin
  rejected := 0;
  for v_row in
    select r.rejected_id, r.rejected_at, r.event, r.source
    from tally.rejected_events as r
    where r.tenant_id = p_tenant
      and r.replayable
      and (p_rejected_ids = '{}' or r.rejected_id = any (p_rejected_ids))
    order by r.rejected_id
    limit 10000
    for update
  loop
    v_errors := tally.replay_errors(v_tenant, v_row.event, v_row.rejected_at, v_row.source);
    if v_errors = '[]' then
      v_event := tally.event_columns(v_row.event::json, v_row.rejected_at);
      v_ids := v_ids || v_row.rejected_id;
      v_occurred_at := v_occurred_at || v_event.occurred_at;
      v_event_id := v_event_id || v_event.event_id;
      v_event_type := v_event_type || v_event.event_type;
      v_value := v_value || v_event.value;
      v_actor_id := v_actor_id || v_event.actor_id;
      v_session_id := v_session_id || v_event.session_id;
      v_data := v_data || v_event.data;
    else
      rejected := rejected + 1;
      update tally.rejected_events as r
      set errors = v_errors
      where r.tenant_id = p_tenant and r.rejected_id = v_row.rejected_id and r.errors <> v_errors;
    end if;
  end loop;
  accepted := 0;
  duplicates := 0;
  conflicts := 0;
  if cardinality(v_ids) > 0 then
    select i.accepted, i.duplicates, i.conflicts into accepted, duplicates, conflicts
    from api.events_ingest(
      p_tenant, v_occurred_at, v_event_id, v_event_type, v_value, v_actor_id, v_session_id,
      v_data) as i;
    delete from tally.rejected_events as r
    where r.tenant_id = p_tenant and r.rejected_id = any (v_ids);
  end if;
  return next;
end
$$;
alter function api.rejected_replay owner to tally_tenant;
revoke all on function api.rejected_replay from public;
grant execute on function api.rejected_replay to tally_service, tally_owner;
comment on function api.rejected_replay is
  'Stores those of the rejected events that are good by today''s rules and removes them from the table; returns how many were new, duplicates, conflicts (api.events_ingest), and rejected again.';
