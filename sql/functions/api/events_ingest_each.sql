-- Stores events of several requests, maybe of several tenants, in one transaction, each for itself:
-- one that is refused leaves the others alone. So concurrent requests share a commit. A tenant's
-- events go through events_ingest together; only if one of them is a duplicate or refused is that
-- undone and each stored by itself. A tenant that has to wait for a lock longer than lock_timeout
-- allows waits once: all of its events that are not stored by then are refused with 55P03. Returns a
-- row for each event, in order.
create function api.events_ingest_each(
  p_tenant uuid[],
  p_occurred_at timestamptz[],
  p_event_id uuid[],
  p_event_type text[],
  p_value numeric[],
  p_actor_id text[],
  p_session_id text[],
  p_data jsonb[]
)
returns table (
  accepted boolean, stored text, error_state text, error_message text, error_detail text
)
language plpgsql volatile strict security definer
set search_path = ''
as $$
declare
  v_tenant uuid := p_tenant[1];
  v_failed text := '';
  v_group record;
  v_new integer;
  v_i bigint;
  v_one integer;
  v_accepted boolean[] := array_fill(null::boolean, array[cardinality(p_tenant)]);
  v_state text[] := array_fill(null::text, array[cardinality(p_tenant)]);
  v_stored text[] := v_state;
  v_message text[] := v_state;
  v_detail text[] := v_state;
  v_locked boolean;
begin
  -- One tenant, and all of it new, is what comes nearly always. It needs no copy of the columns.
  if v_tenant = all (p_tenant) then
    begin
      select r.accepted into v_new
      from api.events_ingest(
        v_tenant, p_occurred_at, p_event_id, p_event_type, p_value, p_actor_id, p_session_id,
        p_data) as r;
      if v_new < cardinality(p_tenant) then
        raise exception 'some are stored already';
      end if;
      return query select true, null::text, null::text, null::text, null::text from unnest(p_tenant);
      return;
    exception when others then
      v_failed := sqlstate;
    end;
  end if;
  for v_group in
    select
      e.tenant_id,
      array_agg(e.i) as positions,
      array_agg(e.occurred_at) as occurred_at,
      array_agg(e.event_id) as event_id,
      array_agg(e.event_type) as event_type,
      array_agg(e.value) as value,
      array_agg(e.actor_id) as actor_id,
      array_agg(e.session_id) as session_id,
      array_agg(e.data) as data
    from (
      select u.*
      from unnest(
        p_tenant, p_occurred_at, p_event_id, p_event_type, p_value, p_actor_id, p_session_id, p_data
      ) with ordinality as u (
        tenant_id, occurred_at, event_id, event_type, value, actor_id, session_id, data, i)
      -- In one order everywhere, so that two flushes cannot deadlock.
      order by u.tenant_id, u.occurred_at, u.event_id
    ) as e
    group by e.tenant_id
    order by e.tenant_id
  loop
    v_tenant := v_group.tenant_id;
    begin
      if v_failed <> '' then
        raise exception using errcode = v_failed, message = 'tried already';
      end if;
      select r.accepted into v_new
      from api.events_ingest(
        v_tenant, v_group.occurred_at, v_group.event_id, v_group.event_type, v_group.value,
        v_group.actor_id, v_group.session_id, v_group.data) as r;
      if v_new < cardinality(v_group.positions) then
        raise exception 'some are stored already';
      end if;
      foreach v_i in array v_group.positions
      loop
        v_accepted[v_i] := true;
      end loop;
    exception when others then
      v_locked := sqlstate = '55P03';
      v_one := 0;
      foreach v_i in array v_group.positions
      loop
        v_one := v_one + 1;
        begin
          if v_locked then
            raise lock_not_available;
          end if;
          select r.accepted into v_new
          from api.events_ingest(
            v_tenant, v_group.occurred_at[v_one:v_one], v_group.event_id[v_one:v_one],
            v_group.event_type[v_one:v_one], v_group.value[v_one:v_one],
            v_group.actor_id[v_one:v_one], v_group.session_id[v_one:v_one],
            v_group.data[v_one:v_one]) as r;
          v_accepted[v_i] := v_new = 1;
          if v_new = 0 then
            v_stored[v_i] := tally.event_stored(
              v_tenant, v_group.occurred_at[v_one], v_group.event_id[v_one]);
          end if;
        exception when others then
          get stacked diagnostics
            error_state := returned_sqlstate,
            error_message := message_text,
            error_detail := pg_exception_detail;
          v_locked := error_state = '55P03';
          v_state[v_i] := error_state;
          v_message[v_i] := error_message;
          v_detail[v_i] := error_detail;
        end;
      end loop;
    end;
  end loop;
  return query select * from unnest(v_accepted, v_stored, v_state, v_message, v_detail);
end
$$;
alter function api.events_ingest_each owner to tally_tenant;
revoke all on function api.events_ingest_each from public;
grant execute on function api.events_ingest_each to tally_service, tally_owner;
comment on function api.events_ingest_each is
  'Stores events of several requests and tenants, each for itself, in one transaction; returns for each whether it was new, the event as it is stored if it was not, or the error that refused it.';
