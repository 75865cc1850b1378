-- Totals of raw events by bucket and group: the definition that meters must equal. Part is g for
-- groups and m for events that lack a dimension. Percentiles come as a histogram, as meters keep them,
-- unless they are picked. p_pick is a measure that only raw events have
-- (latest, p50, p90, p99) and that cannot be added up afterwards; so p_kept, if given, are the groups,
-- as text, that are told apart, and part o is all the others together. Cost: a scan of the primary
-- key over the range, 0.3 to 0.5 us an event.
create function tally.raw_groups(
  p_tenant uuid,
  p_from timestamptz,
  p_to timestamptz,
  p_boundaries timestamptz[],
  p_question tally.question,
  p_filter jsonpath,
  p_pick text default '',
  p_kept text[] default null
)
returns table (
  bucket integer, part "char", group_key text[], event_count bigint, value_count bigint,
  value_sum numeric, value_min numeric, value_max numeric, value_errors bigint, uniques public.hll,
  picked numeric, largest_group bigint, value_histogram bytea
)
language plpgsql stable
set search_path = ''
-- Names that the planner knows cost nothing; and it opens only the partitions that it needs.
set plan_cache_mode = force_custom_plan
as $$
declare
  v_types text[] := p_question.event_types;
  v_actor text := nullif(p_question.actor_id, '');
  v_by text[] := p_question.dimensions;
  v_of text := p_question.value_of;
  v_unique text := p_question.unique_of;
  v_with_percentiles boolean := p_question.measure in ('p50', 'p90', 'p99');
  v_with_values boolean := p_question.measure in ('sum', 'avg', 'min', 'max') or v_with_percentiles;
  v_with_unique boolean := p_question.measure in ('unique', 'uniqueActors');
begin
  if p_pick = '' then
    return query
    select
      case when cardinality(p_boundaries) = 2 then 1 else width_bucket(e.occurred_at, p_boundaries) end,
      case when array_position(e.group_key, null) is null then 'g' else 'm' end::"char",
      case when array_position(e.group_key, null) is null then e.group_key end,
      count(*),
      count(e.number) filter (where v_with_values),
      sum(e.number) filter (where v_with_values),
      min(e.number) filter (where v_with_values),
      max(e.number) filter (where v_with_values),
      count(*) filter (where e.is_error and v_with_values),
      public.hll_add_agg(e.unique_hash::public.hll_hashval, 14, 5)
        filter (where v_with_unique and e.unique_hash is not null),
      null::numeric,
      0::bigint,
      tally.histogram_compact(
        string_agg(tally.histogram_entry(e.number), '') filter (where v_with_percentiles))
    from tally.property_events(
      p_tenant, p_from, p_to, v_types, p_filter, v_actor, v_by, v_of, v_unique) as e
    group by 1, e.group_key;
  else
    return query
    select
      p.bucket, p.part, p.group_key, count(*), count(p.number), null::numeric, null::numeric,
      null::numeric, count(*) filter (where p.is_error), null::public.hll,
      case p_pick
        when 'latest' then (array_agg(p.number order by p.occurred_at desc, p.event_id desc)
          filter (where p.number is not null))[1]
        else percentile_disc(substr(p_pick, 2)::float8 / 100) within group (order by p.number)
      end,
      0::bigint,
      null::bytea
    from (
      select
        width_bucket(e.occurred_at, p_boundaries) as bucket,
        k.part,
        case when k.part = 'g' then e.group_key end as group_key,
        e.occurred_at, e.event_id, e.number, e.is_error
      from tally.property_events(
        p_tenant, p_from, p_to, v_types, p_filter, v_actor, v_by, v_of, v_unique) as e
      cross join lateral (
        select case
          when array_position(e.group_key, null) is not null then 'm'
          when p_kept is null or e.group_key::text = any (p_kept) then 'g'
          else 'o'
        end::"char" as part
      ) as k
    ) as p
    group by p.bucket, p.part, p.group_key;
  end if;
  perform tally.check_partition_version();
end
$$;
alter function tally.raw_groups owner to tally_owner;
revoke all on function tally.raw_groups from public;
grant execute on function tally.raw_groups to tally_tenant;
comment on function tally.raw_groups is
  'Totals of the raw events of a range by bucket and group, part g, m (a dimension is absent) or o (not among p_kept). A bucket and part may come in several rows: add them.';
