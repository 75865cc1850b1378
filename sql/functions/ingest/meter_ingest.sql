-- What a batch that was just stored adds to the tenant's meters: a delta for each meter and quarter
-- hour, its groups packed. In the transaction of the events, behind tally.tenant_write, whose lock
-- keeps a new meter from appearing before that transaction has ended. Cost: 2 to 4 us an event and
-- meter that counts it.
create function tally.meter_ingest(
  p_tenant uuid,
  p_occurred_at timestamptz[],
  p_event_type text[],
  p_value numeric[],
  p_actor_id text[],
  p_session_id text[],
  p_data jsonb[]
)
returns void
language plpgsql volatile
set search_path = ''
as $$
begin
  insert into tally.meter_deltas (tenant_id, meter_id, quarter_hour, entries)
  select
    p_tenant, g.meter_id, g.quarter_hour,
    array_agg(row(
      g.group_key, g.event_count, g.value_count, g.value_sum, g.value_min, g.value_max,
      g.value_errors, g.unique_hashes)::tally.meter_entry)
  from (
    select
      m.meter_id,
      date_bin('15 minutes', e.occurred_at, timestamptz 'epoch') as quarter_hour,
      -- NULL where a dimension is absent.
      case when array_position(k.group_key, null) is null then k.group_key end as group_key,
      count(*) as event_count,
      count(k.number) as value_count,
      sum(k.number) as value_sum,
      min(k.number) as value_min,
      max(k.number) as value_max,
      count(*) filter (where tally.is_no_number(m.value_of, e.data)) as value_errors,
      string_agg(int8send(tally.actor_hash(tally.dimension(
        m.unique_of, e.event_type, e.actor_id, e.session_id, e.data))), '') as unique_hashes
    from (
      select
        unnest(p_occurred_at) as occurred_at, unnest(p_event_type) as event_type,
        unnest(p_value) as value, unnest(p_actor_id) as actor_id,
        unnest(p_session_id) as session_id, unnest(p_data) as data
    ) as e
    join tally.meters as m
      on (m.event_types = '{}' or e.event_type = any (m.event_types))
      and (m.filter is null or e.data @@ m.filter)
    cross join lateral (
      select
        tally.group_key(m.dimensions, e.event_type, e.actor_id, e.session_id, e.data) as group_key,
        tally.number_of(m.value_of, e.value, e.data) as number
      offset 0
    ) as k
    where m.tenant_id = p_tenant and m.retired_at is null
    group by m.meter_id, 2, 3
  ) as g
  group by g.meter_id, g.quarter_hour;
end
$$;
alter function tally.meter_ingest owner to tally_owner;
revoke all on function tally.meter_ingest from public;
grant execute on function tally.meter_ingest to tally_tenant;
comment on function tally.meter_ingest is
  'Appends what stored events add to the meters of a tenant, in the same transaction.';
