-- Tries rejected events again by today's rules, all or those named, up to 10,000 at once: those that
-- are good now are stored and leave the table, in one transaction; the others stay with their
-- errors of today. An event without a time and an id is given the time of its rejection.
create function api.rejected_replay(p_tenant uuid, p_rejected_ids bigint[] default '{}')
returns table (accepted integer, duplicates integer, rejected integer)
language plpgsql volatile strict security definer
set search_path = ''
as $$
declare
  v_tenant tally.tenant_context := tally.tenant_write(p_tenant);
  v_row record;
  v_event jsonb;
  v_errors jsonb;
  v_good jsonb[] := array[]::jsonb[];
  v_ids bigint[] := array[]::bigint[];
begin
  rejected := 0;
  for v_row in
    select r.rejected_id, r.rejected_at, r.event
    from tally.rejected_events as r
    where r.tenant_id = p_tenant
      and r.replayable
      and (p_rejected_ids = '{}' or r.rejected_id = any (p_rejected_ids))
    order by r.rejected_id
    limit 10000
    for update
  loop
    begin
      v_event := v_row.event::jsonb;
      select coalesce(jsonb_agg(e - 'index'), '[]') into v_errors
      from tally.event_errors(v_event, 0) as e;
      if v_errors = '[]' then
        -- The time that events_ingest_json will give it.
        v_event := jsonb_build_object('occurredAt', to_jsonb(coalesce(
          tally.uuid7_time((v_event ->> 'id')::uuid), v_row.rejected_at))) || v_event;
        select coalesce(jsonb_agg(jsonb_build_object('pointer', '/occurredAt', 'detail', t.error)), '[]')
        into v_errors
        from tally.time_error(
          tally.parse_instant(v_event ->> 'occurredAt'), tally.earliest_time(v_tenant)) as t (error)
        where t.error is not null;
      end if;
    exception when data_exception or program_limit_exceeded then
      v_errors := jsonb_build_array(jsonb_build_object('pointer', '', 'detail', 'is not JSON that can be stored'));
    end;
    if v_errors = '[]' then
      v_good := v_good || v_event;
      v_ids := v_ids || v_row.rejected_id;
    else
      rejected := rejected + 1;
      update tally.rejected_events as r
      set errors = v_errors
      where r.tenant_id = p_tenant and r.rejected_id = v_row.rejected_id and r.errors <> v_errors;
    end if;
  end loop;
  accepted := 0;
  duplicates := 0;
  if cardinality(v_ids) > 0 then
    select i.accepted, i.duplicates into accepted, duplicates
    from api.events_ingest_json(p_tenant, to_jsonb(v_good)) as i;
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
  'Stores those of the rejected events that are good by today''s rules and removes them from the table; returns how many were new, duplicates, and rejected again.';
