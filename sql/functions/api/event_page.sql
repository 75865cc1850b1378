-- Raw events of a range, oldest first, one page: for exports and for what is known of an actor. The
-- next page begins after the last row's occurred_at and event_id. A page ends at p_limit rows or
-- p_max_bytes of data, whichever comes first; its last row then says that it is full. Pages read in
-- one repeatable-read transaction are of one snapshot. Cost: a scan of the primary key from there on;
-- with an actor, of all the events in between.
create function api.event_page(
  p_tenant uuid,
  p_from text default '-infinity',
  p_to text default 'infinity',
  p_actor text default '',
  p_time_zone text default '',
  p_after_at timestamptz default '-infinity',
  p_after_id uuid default '00000000-0000-0000-0000-000000000000',
  p_limit integer default 1000,
  p_max_bytes integer default 8000000
)
returns table (
  event_id uuid, event_type text, occurred_at timestamptz, received_at timestamptz, actor_id text,
  session_id text, value numeric, data jsonb, is_full boolean
)
language plpgsql stable strict security definer
set search_path = ''
set plan_cache_mode = force_custom_plan
as $$
declare
  v_tenant tally.tenant_context := tally.tenant_set_current(p_tenant);
  v_zone text := tally.query_zone(v_tenant, p_time_zone);
  v_from timestamptz := tally.range_end(p_from, v_zone, 'p_from');
  v_to timestamptz := tally.range_end(p_to, v_zone, 'p_to');
  v_rows integer := 0;
  v_bytes bigint := 0;
begin
  perform tally.check_limit(p_limit);
  select * into v_from, v_to from tally.check_query(v_tenant, v_from, v_to, 'count');
  v_from := greatest(v_from, v_tenant.events_kept_from, p_after_at);
  for event_id, event_type, occurred_at, received_at, actor_id, session_id, value, data in
    select
      e.event_id, e.event_type, e.occurred_at, e.received_at, e.actor_id, e.session_id, e.value,
      e.data
    from tally.events as e
    where e.tenant_id = p_tenant
      and e.occurred_at >= v_from
      and e.occurred_at < v_to
      and (e.occurred_at, e.event_id) > (p_after_at, p_after_id)
      and (p_actor = '' or e.actor_id = p_actor)
    order by e.occurred_at, e.event_id
    limit p_limit
  loop
    v_rows := v_rows + 1;
    v_bytes := v_bytes + octet_length(data::text);
    is_full := v_rows = p_limit or v_bytes >= p_max_bytes;
    return next;
    exit when is_full;
  end loop;
  perform tally.check_partition_version();
end
$$;
alter function api.event_page owner to tally_tenant;
revoke all on function api.event_page from public;
grant execute on function api.event_page to tally_service, tally_owner;
comment on function api.event_page is
  'A page of raw events of a range after a given one, oldest first, optionally of one actor: up to p_limit, or p_max_bytes of data; is_full tells that another page may follow. TY400 for bad arguments.';
