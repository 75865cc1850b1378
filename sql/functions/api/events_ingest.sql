-- Stores events, all or nothing, and appends what it really inserted, grouped by quarter hour and
-- type, to the deltas in the same transaction: summaries + deltas = events at every moment; meters the
-- same. An event that is stored already (same id and time) is counted as a duplicate and changes
-- nothing, so a request may be repeated. Tried first as a plain insert, since `on conflict` costs 4 to
-- 6 us an event; the conflict form runs only after a unique violation. Both insert in the order of the
-- key, so that batches with the same events wait for each other, but never in a circle; it costs
-- nothing, since the index likes it. Each argument holds one field of all events: typed arrays cost
-- half of what jsonb does. unnest stands in the select list, where it keeps no copy of the rows: 0.8 us
-- an event less. From psql, use api.events_ingest_json.
create function api.events_ingest(
  p_tenant uuid,
  p_occurred_at timestamptz[],
  p_event_id uuid[],
  p_event_type text[],
  p_value numeric[],
  p_actor_id text[],
  p_session_id text[],
  p_data jsonb[]
)
returns table (accepted integer, duplicates integer, conflicts integer)
language plpgsql volatile strict security definer
set search_path = ''
as $$
declare
  v_tenant tally.tenant_context := tally.tenant_write(p_tenant);
  v_count integer := cardinality(p_occurred_at);
  v_plain boolean := true;
  v_constraint text;
  v_occurred_at timestamptz[] := p_occurred_at;
  v_event_type text[] := p_event_type;
  v_value numeric[] := p_value;
  v_actor_id text[] := p_actor_id;
  v_session_id text[] := p_session_id;
  v_data jsonb[] := p_data;
begin
  conflicts := 0;
  if v_tenant.stored_events >= v_tenant.event_quota then
    raise exception using
      errcode = 'TYQUO',
      message = format('the quota of events is used up: %s of %s are stored',
        v_tenant.stored_events, v_tenant.event_quota),
      hint = 'Shorten the retention of raw events, erase some, or ask for a larger quota.';
  end if;
  if not tally.check_events(
    v_tenant, p_occurred_at, p_event_id, p_event_type, p_value, p_actor_id, p_session_id, p_data)
  then
    return;
  end if;
  loop
    begin
      if v_plain then
        insert into tally.events (
          tenant_id, occurred_at, event_id, value, event_type, actor_id, session_id, data
        )
        select
          p_tenant, unnest(p_occurred_at), unnest(p_event_id), unnest(p_value),
          unnest(p_event_type), unnest(p_actor_id), unnest(p_session_id), unnest(p_data)
        order by 2, 3;
        accepted := v_count;
      else
        with inserted as (
          insert into tally.events as stored (
            tenant_id, occurred_at, event_id, value, event_type, actor_id, session_id, data
          )
          select
            p_tenant, unnest(p_occurred_at), unnest(p_event_id), unnest(p_value),
            unnest(p_event_type), unnest(p_actor_id), unnest(p_session_id), unnest(p_data)
          order by 2, 3
          on conflict do nothing
          returning
            stored.occurred_at, stored.event_type, stored.value, stored.actor_id,
            stored.session_id, stored.data
        )
        select
          count(*), array_agg(i.occurred_at), array_agg(i.event_type), array_agg(i.value),
          array_agg(i.actor_id), array_agg(i.session_id), array_agg(i.data)
        into accepted, v_occurred_at, v_event_type, v_value, v_actor_id, v_session_id, v_data
        from inserted as i;
      end if;
      exit;
    exception
      when unique_violation then
        if not v_plain then
          raise;
        end if;
        v_plain := false;
      when check_violation then
        -- Without a name it is a partition's bound: while this insert waited to write to the default
        -- partition, somebody attached one of its week by hand. Now it will find it. (Not
        -- partition_create: it locks tally.events itself, so that we wait before we choose.)
        get stacked diagnostics v_constraint = constraint_name;
        if v_constraint <> '' then
          raise;
        end if;
    end;
  end loop;
  if accepted = 1 then
    -- The same as below of one row: no aggregate, a tenth of a lone event.
    insert into tally.summary_deltas (
      tenant_id, quarter_hour, event_type, event_count, value_count, value_sum, value_min, value_max,
      actor_hashes
    )
    select
      p_tenant, date_bin('15 minutes', e.occurred_at, timestamptz 'epoch'), e.event_type, 1,
      num_nonnulls(e.value), e.value, e.value, e.value, int8send(tally.actor_hash(e.actor_id))
    from (
      select
        unnest(v_occurred_at) as occurred_at, unnest(v_event_type) as event_type,
        unnest(v_value) as value, unnest(v_actor_id) as actor_id
    ) as e;
  else
    insert into tally.summary_deltas (
      tenant_id, quarter_hour, event_type, event_count, value_count, value_sum, value_min, value_max,
      actor_hashes
    )
    select
      p_tenant,
      date_bin('15 minutes', e.occurred_at, timestamptz 'epoch'),
      e.event_type,
      count(*),
      count(e.value),
      sum(e.value),
      min(e.value),
      max(e.value),
      string_agg(int8send(tally.actor_hash(e.actor_id)), '')
    from (
      select
        unnest(v_occurred_at) as occurred_at, unnest(v_event_type) as event_type,
        unnest(v_value) as value, unnest(v_actor_id) as actor_id
    ) as e
    group by 2, 3;
  end if;
  if v_tenant.meter_count > 0 then
    perform tally.meter_ingest(
      p_tenant, v_occurred_at, v_event_type, v_value, v_actor_id, v_session_id, v_data);
  end if;
  duplicates := v_count - accepted;
  if duplicates > 0 then
    conflicts := tally.count_conflicts(
      p_tenant, p_occurred_at, p_event_id, p_event_type, p_value, p_actor_id, p_session_id, p_data);
  end if;
  return next;
end
$$;
alter function api.events_ingest owner to tally_tenant;
revoke all on function api.events_ingest from public;
grant execute on function api.events_ingest to tally_service, tally_owner;
comment on function api.events_ingest is
  'Stores a batch of 1 to 10,000 events given as one array a field; returns how many were new, how many were there already, and in how many of these something else is stored under the same id and time (conflicts: the first stays). All or nothing; TY400 lists every bad event; TYQUO where the tenant''s quota of events is used up.';
