-- Totals of the raw events of a part shorter than a quarter hour, as tally.range_parts leaves it at the
-- ends of a range: a row a quarter hour and type. Cost: one probe of the primary key. The plan is made
-- once and opens the partition that the times fall in; a fresh one takes four times as long.
create function tally.edge_totals(
  p_tenant uuid, p_from timestamptz, p_to timestamptz, p_types text[], p_with_actors boolean
)
returns table (
  first_at timestamptz, event_type text, event_count bigint, value_count bigint,
  value_sum numeric, value_min numeric, value_max numeric, actors public.hll
)
language plpgsql stable
set search_path = ''
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
begin
  return query
  select
    min(e.occurred_at), e.event_type, count(*), count(e.value), sum(e.value), min(e.value),
    max(e.value),
    public.hll_add_agg(tally.actor_hash(e.actor_id)::public.hll_hashval, 14, 5)
      filter (where p_with_actors and e.actor_id is not null)
  from tally.events as e
  where e.tenant_id = p_tenant
    and e.occurred_at >= p_from
    and e.occurred_at < p_to
    and (p_types = '{}' or e.event_type = any (p_types))
  group by date_bin('15 minutes', e.occurred_at, timestamptz 'epoch'), e.event_type;
  perform tally.check_partition_version();
end
$$;
alter function tally.edge_totals owner to tally_owner;
revoke all on function tally.edge_totals from public;
grant execute on function tally.edge_totals to tally_tenant, tally_bi;
comment on function tally.edge_totals is
  'Totals of the raw events of a part of a quarter hour or of two, by quarter hour and type.';
