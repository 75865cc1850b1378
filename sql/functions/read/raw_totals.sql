-- Totals of raw events by bucket, and by type if asked: the definition that every faster answer
-- must equal. Bucket n lies between boundaries n and n + 1. Cost: a scan of the primary key over
-- the range, about 0.1 ms a thousand events; with a filter, one jsonpath check an event.
create function tally.raw_totals(
  p_tenant uuid,
  p_from timestamptz,
  p_to timestamptz,
  p_boundaries timestamptz[],
  p_types text[],
  p_by_type boolean,
  p_with_values boolean,
  p_with_actors boolean,
  p_filter jsonpath default null,
  p_actor text default null
)
returns table (
  bucket integer, event_type text, event_count bigint, value_count bigint,
  value_sum numeric, value_min numeric, value_max numeric, actors public.hll
)
language plpgsql stable
set search_path = ''
-- A plan for the range at hand opens only the partitions that it needs.
set plan_cache_mode = force_custom_plan
set enable_seqscan = on
as $$
begin
  return query
  select
    -- One bucket needs no sorting.
    case when cardinality(p_boundaries) = 2 then 1 else width_bucket(e.occurred_at, p_boundaries) end,
    case when p_by_type then e.event_type end,
    count(*),
    count(e.value) filter (where p_with_values),
    sum(e.value) filter (where p_with_values),
    min(e.value) filter (where p_with_values),
    max(e.value) filter (where p_with_values),
    public.hll_add_agg(tally.actor_hash(e.actor_id)::public.hll_hashval, 14, 5)
      filter (where p_with_actors and e.actor_id is not null)
  from tally.events as e
  where e.tenant_id = p_tenant
    and e.occurred_at >= p_from
    and e.occurred_at < p_to
    and (p_types = '{}' or e.event_type = any (p_types))
    and (p_filter is null or e.data @@ p_filter)
    and (p_actor is null or e.actor_id = p_actor)
  group by 1, 2;
  perform tally.check_partition_version();
end
$$;
alter function tally.raw_totals owner to tally_owner;
revoke all on function tally.raw_totals from public;
grant execute on function tally.raw_totals to tally_tenant;
comment on function tally.raw_totals is
  'Totals of the raw events of a range, by bucket and optionally type; what every summary must equal.';
