-- Makes a local day of a meter equal to the raw events: its quarter hours, its total and its groups,
-- of which it keeps those that were final before and the largest others up to max_groups. Deltas of
-- the day are taken and raw events read by one statement, so by one snapshot. Returns whether the total
-- was wrong before, deltas taken into account. The caller holds the tenant's lock, and makes the month
-- anew. Cost: a scan of the day's events.
create function tally.recount_meter(
  p_tenant tally.tenant_context, p_meter tally.meters, p_from timestamptz, p_to timestamptz
)
returns boolean
language plpgsql volatile strict
set search_path = ''
-- Names that the planner knows cost nothing.
set plan_cache_mode = force_custom_plan
as $$
declare
  v_id uuid := p_tenant.tenant_id;
  v_meter uuid := p_meter.meter_id;
  v_types text[] := p_meter.event_types;
  v_filter jsonpath := p_meter.filter;
  v_by text[] := p_meter.dimensions;
  v_of text := p_meter.value_of;
  v_unique text := p_meter.unique_of;
  v_percentiles boolean := p_meter.percentiles;
  v_kept text[];
  v_rows tally.meter_summaries[];
  v_count bigint;
  v_sum numeric;
  v_waiting_count bigint;
  v_waiting_sum numeric;
begin
  -- Figures that were final stay in sight.
  select coalesce(array_agg(s.group_key::text), '{}') into v_kept
  from tally.meter_summaries as s
  where s.tenant_id = v_id
    and s.meter_id = v_meter
    and s.period_type = 'd'::"char"
    and s.part = 'g'::"char"
    and s.period_start = p_from
    and (s.final_at is not null or s.revision > 1);
  select coalesce(sum(s.event_count), 0), coalesce(sum(s.value_sum), 0) into v_count, v_sum
  from tally.meter_summaries as s
  where s.tenant_id = v_id
    and s.meter_id = v_meter
    and s.period_type = 'd'::"char"
    and s.part = 't'::"char"
    and s.period_start = p_from;
  with taken as (
    delete from tally.meter_deltas as d
    where d.tenant_id = v_id
      and d.meter_id = v_meter
      and d.quarter_hour >= p_from
      and d.quarter_hour < p_to
    returning d.entries
  ),
  counted as materialized (
    select
      date_bin('15 minutes', e.occurred_at, timestamptz 'epoch') as quarter_hour,
      case when array_position(e.group_key, null) is null then e.group_key end as group_key,
      count(*) as event_count, count(e.number) as value_count, sum(e.number) as value_sum,
      min(e.number) as value_min, max(e.number) as value_max,
      count(*) filter (where e.is_error) as value_errors,
      public.hll_add_agg(e.unique_hash::public.hll_hashval, 14, 5)
        filter (where e.unique_hash is not null) as uniques,
      tally.histogram_compact(
        string_agg(tally.histogram_entry(e.number), '') filter (where v_percentiles)
      ) as value_histogram
    from tally.property_events(
      v_id, p_from, p_to, v_types, v_filter, null, v_by, v_of, v_unique) as e
    group by 1, 2
  ),
  ranked as (
    select
      c.group_key,
      sum(c.event_count) as event_count,
      row_number() over (
        order by c.group_key::text = any (v_kept) desc, sum(c.event_count) desc, c.group_key
      ) <= greatest(p_meter.max_groups, cardinality(v_kept)) as is_kept
    from counted as c
    where c.group_key is not null
    group by c.group_key
  ),
  parts as (
    select
      o.period_type, o.part, o.period_start, o.group_key, sum(c.event_count)::bigint as event_count,
      sum(c.value_count)::bigint as value_count, sum(c.value_sum) as value_sum,
      min(c.value_min) as value_min, max(c.value_max) as value_max,
      sum(c.value_errors)::bigint as value_errors, public.hll_union_agg(c.uniques) as uniques,
      tally.histogram_compact(string_agg(c.value_histogram, '')) as value_histogram
    from counted as c
    left join ranked as r on r.group_key = c.group_key
    cross join lateral (
      values
        ('q'::"char", 't'::"char", c.quarter_hour, '{}'::text[]),
        ('d', 't', p_from, '{}'),
        ('d', case when c.group_key is null then 'm' when r.is_kept then 'g' else 'o' end::"char", p_from,
          case when r.is_kept then c.group_key else '{}' end)
    ) as o (period_type, part, period_start, group_key)
    where o.part = 't' or v_by <> '{}'
    group by o.period_type, o.part, o.period_start, o.group_key
  )
  select
    coalesce((select sum(e.event_count) from taken, unnest(taken.entries) as e), 0),
    coalesce((select sum(e.value_sum) from taken, unnest(taken.entries) as e), 0),
    array(
      select row(
        v_id, v_meter, p.period_type, p.part, p.period_start, p.group_key, p.event_count,
        p.value_count, p.value_sum, p.value_min, p.value_max, p.value_errors, p.uniques,
        case when p.part = 'o' then (
          select max(n.event_count)::bigint from ranked as n where not n.is_kept) else 0 end,
        1, now(), null, p.value_histogram)::tally.meter_summaries
      from parts as p)
  into v_waiting_count, v_waiting_sum, v_rows;
  perform tally.replace_meter_day(p_tenant, v_meter, p_from, p_to, v_rows);
  return exists (
    select
    from tally.meter_summaries as s
    where s.tenant_id = v_id
      and s.meter_id = v_meter
      and s.period_type = 'd'::"char"
      and s.part = 't'::"char"
      and s.period_start = p_from
    having coalesce(sum(s.event_count), 0) <> v_count + v_waiting_count
      or coalesce(sum(s.value_sum), 0) <> v_sum + v_waiting_sum);
end
$$;
alter function tally.recount_meter owner to tally_owner;
revoke all on function tally.recount_meter from public;
comment on function tally.recount_meter is
  'Makes a local day of a meter equal to the raw events, under the tenant''s lock; returns whether its total was wrong.';
