-- The largest groups of a range, the rest of it as `other`, what lacks a dimension as `missing`, and
-- the total, by bucket. Groups are ranked over the whole range, and the answer is exact: where days
-- of a meter have groups in their own `other`, it must follow from what these can hold at most that
-- the groups are the largest and nothing of them is hidden; otherwise such days are read from raw
-- events, and only where these are gone is the answer told to be inexact.
create function tally.ranked_totals(
  p_tenant tally.tenant_context,
  p_boundaries timestamptz[],
  p_coarsest text,
  p_question tally.question,
  p_limit integer
)
returns setof tally.ranked_total
language plpgsql stable strict
set search_path = ''
as $$
declare
  v_measure text := p_question.measure;
  v_found tally.ranked_total[];
  v_raw_days timestamptz[] := array[]::timestamptz[];
  v_meter tally.meters := tally.meter_find(p_tenant, p_question);
  v_bound bigint;
  v_last numeric;
  v_next numeric;
  v_range timestamptz[] := array[p_boundaries[1], p_boundaries[cardinality(p_boundaries)]];
begin
  if v_measure = 'latest' or v_measure in ('p50', 'p90', 'p99') and v_meter.meter_id is null then
    return query
    select * from tally.picked_totals(p_tenant, p_boundaries, p_question, p_limit, v_measure);
    return;
  end if;
  loop
    with found as materialized (
      select *
      from tally.group_totals(p_tenant, p_boundaries, p_coarsest, p_question, v_raw_days)
    ),
    groups as materialized (
      select
        g.group_key,
        g.total,
        row_number() over (order by g.total desc nulls last, g.group_key) as rank
      from (
        select
          f.group_key,
          tally.group_measure(
            v_measure, sum(f.event_count)::bigint, sum(f.value_count)::bigint, sum(f.value_sum),
            min(f.value_min), max(f.value_max), public.hll_union_agg(f.uniques),
            string_agg(f.value_histogram, '')) as total
        from found as f
        where f.part = 'g'
        group by f.group_key
      ) as g
    ),
    parted as (
      select f.*, g.rank, 't'::"char" as part_of, null::text[] as key_of
      from found as f
      left join groups as g on f.part = 'g' and g.group_key = f.group_key
      union all
      select
        f.*,
        case when g.rank <= p_limit then g.rank end,
        case when g.rank > p_limit then 'o' else f.part end,
        case when g.rank <= p_limit then f.group_key end
      from found as f
      left join groups as g on f.part = 'g' and g.group_key = f.group_key
    )
    select
      coalesce(array_agg(row(
        p.bucket, p.part_of, p.rank, p.group_key, p.total, p.event_count, p.value_errors,
        case when p.part_of = 'o' and p.largest_group = 0 then
          (select count(*) from groups as g where g.rank > p_limit) end,
        true, p.largest_group)::tally.ranked_total), '{}'),
      coalesce(sum(p.largest_group) filter (where p.part_of = 'o'), 0),
      coalesce((select g.total from groups as g where g.rank = p_limit), -1),
      coalesce((select g.total from groups as g where g.rank = p_limit + 1), 0)
    into v_found, v_bound, v_last, v_next
    from (
      select
        q.bucket, q.part_of, case when q.part_of = 'g' then min(q.rank) end as rank,
        q.key_of as group_key,
        tally.group_measure(
          v_measure, sum(q.event_count)::bigint, sum(q.value_count)::bigint, sum(q.value_sum),
          min(q.value_min), max(q.value_max), public.hll_union_agg(q.uniques),
          string_agg(q.value_histogram, '')) as total,
        sum(q.event_count)::bigint as event_count, sum(q.value_errors)::bigint as value_errors,
        sum(q.largest_group)::bigint as largest_group
      from parted as q
      group by q.bucket, q.part_of, q.key_of
    ) as p;
    exit when v_bound = 0 or v_raw_days <> '{}';
    v_raw_days := tally.meter_days_in_doubt(
      p_tenant, v_meter, v_range, v_found, v_measure = 'count' and v_last >= v_next + v_bound);
    exit when v_raw_days = '{}';
    v_raw_days := array(
      select d from unnest(v_raw_days) as d where d >= p_tenant.events_kept_from order by d);
    if v_raw_days = '{}' then
      v_raw_days := array['infinity'::timestamptz];
      exit;
    end if;
  end loop;
  return query
  select
    f.bucket, f.part, f.rank, f.group_key, f.total, f.event_count, f.value_errors, f.group_count,
    v_raw_days = '{}' or v_bound = 0,
    case when v_raw_days = '{}' then 0 else v_bound end
  from unnest(v_found) as f;
end
$$;
alter function tally.ranked_totals owner to tally_owner;
revoke all on function tally.ranked_totals from public;
grant execute on function tally.ranked_totals to tally_tenant;
comment on function tally.ranked_totals is
  'By bucket the largest groups of a question (part g, ranked over the range), missing (m), other (o) and the total (t); is_exact, and otherwise how many events of each group `other` may hold.';
