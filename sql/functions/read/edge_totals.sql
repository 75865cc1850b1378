-- Totals of the raw events at the two edges of a range, as tally.range_parts leaves them, each shorter
-- than a quarter hour or two of them: a row a quarter hour and type. Cost: a probe of the primary key
-- each. The plan is made once and opens the partitions that the times fall in; a fresh one takes four
-- times as long. Without workers, who take 20 ms to come where the plan expects much of large partitions.
create function tally.edge_totals(
  p_tenant uuid, p_parts timestamptz[], p_types text[], p_with_actors boolean
)
returns table (
  first_at timestamptz, event_type text, event_count bigint, value_count bigint,
  value_sum numeric, value_min numeric, value_max numeric, actors public.hll
)
language plpgsql stable
set search_path = ''
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set max_parallel_workers_per_gather = 0
as $$
begin
  if p_parts[1] = p_parts[2] and p_parts[7] = p_parts[8] then
    return;
  end if;
  return query
  select
    min(e.occurred_at), e.event_type, count(*), count(e.value), sum(e.value), min(e.value),
    max(e.value),
    public.hll_add_agg(tally.actor_hash(e.actor_id)::public.hll_hashval, 14, 5)
      filter (where p_with_actors and e.actor_id is not null)
  from (
    select a.occurred_at, a.event_type, a.value, a.actor_id
    from tally.events as a
    where a.tenant_id = p_tenant and a.occurred_at >= p_parts[1] and a.occurred_at < p_parts[2]
    union all
    select z.occurred_at, z.event_type, z.value, z.actor_id
    from tally.events as z
    where z.tenant_id = p_tenant and z.occurred_at >= p_parts[7] and z.occurred_at < p_parts[8]
  ) as e
  where p_types = '{}' or e.event_type = any (p_types)
  group by date_bin('15 minutes', e.occurred_at, timestamptz 'epoch'), e.event_type;
  perform tally.check_partition_version();
end
$$;
alter function tally.edge_totals owner to tally_owner;
revoke all on function tally.edge_totals from public;
grant execute on function tally.edge_totals to tally_tenant, tally_bi;
comment on function tally.edge_totals is
  'Totals of the raw events at the edges of a range, by quarter hour and type.';
