-- Raw events of a range, oldest first, one page: for exports and for what is known of an actor. The
-- next page begins after the last row's occurred_at and event_id. Pages read in one repeatable-read
-- transaction are of one snapshot. Cost: a scan of the primary key from there on; with an actor,
-- of all the events in between.
create function api.event_page(
  p_tenant uuid,
  p_from text default '-infinity',
  p_to text default 'infinity',
  p_actor text default '',
  p_time_zone text default '',
  p_after_at timestamptz default '-infinity',
  p_after_id uuid default '00000000-0000-0000-0000-000000000000',
  p_limit integer default 1000
)
returns table (
  event_id uuid, event_type text, occurred_at timestamptz, received_at timestamptz, actor_id text,
  session_id text, value numeric, data jsonb
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
begin
  if p_limit not between 1 and 10000 then
    raise exception using
      errcode = 'TY400', column = 'p_limit', message = 'limit is 1 to 10,000';
  end if;
  select * into v_from, v_to from tally.check_query(v_tenant, v_from, v_to, 'count');
  v_from := greatest(v_from, v_tenant.events_kept_from, p_after_at);
  return query
  select
    e.event_id, e.event_type, e.occurred_at, e.received_at, e.actor_id, e.session_id, e.value, e.data
  from tally.events as e
  where e.tenant_id = p_tenant
    and e.occurred_at >= v_from
    and e.occurred_at < v_to
    and (e.occurred_at, e.event_id) > (p_after_at, p_after_id)
    and (p_actor = '' or e.actor_id = p_actor)
  order by e.occurred_at, e.event_id
  limit p_limit;
  perform tally.check_partition_version();
end
$$;
alter function api.event_page owner to tally_tenant;
revoke all on function api.event_page from public;
grant execute on function api.event_page to tally_service, tally_owner;
comment on function api.event_page is
  'Up to p_limit raw events of a range after a given one, oldest first, optionally of one actor. TY400 for bad arguments.';
