-- events_ingest for people: takes the JSON array that POST /events/bulk takes, with the same names
-- and the same rules. Checks everything before it stores anything.
create function api.events_ingest_json(p_tenant uuid, p_events json)
returns table (accepted integer, duplicates integer, conflicts integer)
language plpgsql volatile strict security definer
set search_path = ''
as $$
declare
  v_errors jsonb;
begin
  perform tally.tenant_set_current(p_tenant);
  if json_typeof(p_events) <> 'array' then
    raise exception using errcode = 'TY400', message = 'expected a JSON array of events';
  end if;
  select coalesce(jsonb_agg(error order by error -> 'index'), '[]') into v_errors
  from json_array_elements(p_events) with ordinality as events (event, i)
  cross join lateral tally.event_errors(event, i - 1) as error;
  perform tally.raise_invalid(v_errors);
  return query
  select r.*
  from (
    select
      array_agg(c.occurred_at order by i) as occurred_at,
      array_agg(c.event_id order by i) as event_id,
      array_agg(c.event_type order by i) as event_type,
      array_agg(c.value order by i) as value,
      array_agg(c.actor_id order by i) as actor_id,
      array_agg(c.session_id order by i) as session_id,
      array_agg(c.data order by i) as data
    from json_array_elements(p_events) with ordinality as events (event, i)
    cross join lateral tally.event_columns(event, now()) as c
  ) as a
  cross join lateral api.events_ingest(
    p_tenant, coalesce(a.occurred_at, '{}'), coalesce(a.event_id, '{}'), coalesce(a.event_type, '{}'),
    coalesce(a.value, '{}'), coalesce(a.actor_id, '{}'), coalesce(a.session_id, '{}'), coalesce(a.data, '{}')
  ) as r;
end
$$;
alter function api.events_ingest_json owner to tally_tenant;
revoke all on function api.events_ingest_json from public;
grant execute on function api.events_ingest_json to tally_service, tally_owner;
comment on function api.events_ingest_json is
  'Stores a JSON array of events {"type", "occurredAt"?, "id"?, "actorId"?, "sessionId"?, "value"?, "data"?}; returns what api.events_ingest returns. All or nothing; TY400 lists every error.';
