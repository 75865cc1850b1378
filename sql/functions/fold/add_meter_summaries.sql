-- Adds quarter hours of groups to the meters of a tenant: to the totals of the quarter hours, and to
-- the totals and groups of the days and months that hold them. Which groups a day keeps is decided
-- here, for the month with it. A final row of a day that changes starts a new revision. The caller
-- holds the tenant's lock.
create function tally.add_meter_summaries(
  p_tenant tally.tenant_context, p_rows tally.meter_summaries[]
)
returns void
language plpgsql volatile strict
set search_path = ''
-- A sketch takes 128 kB while it is aggregated: one after the other, not all at once.
set enable_hashagg = off
-- The planner cannot know how many rows p_rows has; a nested loop would be quadratic in it: minutes for
-- the 50,000 groups of one batch and 50 meters.
set enable_nestloop = off
-- A plan for each array costs more than a small tenant's rows.
set plan_cache_mode = force_generic_plan
as $$
declare
  v_id uuid := p_tenant.tenant_id;
  v_zone text := p_tenant.time_zone;
  v_locked_at timestamptz := clock_timestamp();
begin
  insert into tally.meter_summaries as s (
    tenant_id, meter_id, period_type, part, period_start, group_key, event_count, value_count,
    value_sum, value_min, value_max, value_errors, uniques, largest_group, revision, updated_at,
    value_histogram
  )
  with given as materialized (
    select
      r.*, d.day,
      tally.day_start(tally.first_date(d.on_day, 'month', 1), v_zone) as month,
      cardinality(m.dimensions) > 0 as with_groups, m.max_groups,
      sum(r.event_count) over (partition by r.meter_id, d.day, r.part, r.group_key) as day_count,
      (
        select true
        from tally.meter_summaries as k
        where r.part = 'g'
          and k.tenant_id = v_id
          and k.meter_id = r.meter_id
          and k.period_type = 'd'::"char"
          and k.part = 'g'::"char"
          and k.period_start = d.day
          and k.group_key = r.group_key
      ) as is_kept
    from unnest(p_rows) as r
    join tally.meters as m on m.tenant_id = v_id and m.meter_id = r.meter_id
    cross join lateral (
      select
        tally.local_date(r.period_start, v_zone) as on_day,
        tally.day_start(tally.local_date(r.period_start, v_zone), v_zone) as day
    ) as d
  ),
  days as (
    select
      g.meter_id, g.day,
      (
        select count(*)
        from tally.meter_summaries as k
        where k.tenant_id = v_id
          and k.meter_id = g.meter_id
          and k.period_type = 'd'::"char"
          and k.part = 'g'::"char"
          and k.period_start = g.day
      ) as kept_count
    from given as g
    group by g.meter_id, g.day
  ),
  ranked as (
    select
      g.*,
      dense_rank() over (
        partition by g.meter_id, g.day, g.part, g.is_kept
        order by g.day_count desc, g.group_key) as rank
    from given as g
  ),
  parted as (
    select
      r.*,
      case when r.part = 'g' and r.is_kept is null and r.rank + d.kept_count > r.max_groups then 'o'
        else r.part end as day_part
    from ranked as r
    join days as d on d.meter_id = r.meter_id and d.day = r.day
  )
  select
    v_id, p.meter_id, c.period_type, c.part, c.period_start, c.group_key, sum(p.event_count)::bigint,
    sum(p.value_count)::bigint, sum(p.value_sum), min(p.value_min), max(p.value_max),
    sum(p.value_errors)::bigint, public.hll_union_agg(p.uniques),
    case when c.part = 'o' then sum(p.event_count)::bigint else 0 end,
    -- Nothing was a final figure too, if finalize has passed there.
    1 + (c.period_type = 'd' and c.period_start < p_tenant.days_finalized_to)::integer,
    v_locked_at,
    tally.histogram_compact(string_agg(p.value_histogram, ''))
  from parted as p
  cross join lateral (
    values
      ('q'::"char", 't'::"char", p.period_start, '{}'::text[]),
      ('d', 't', p.day, '{}'),
      ('m', 't', p.month, '{}'),
      (case when p.with_groups then 'd'::"char" end, p.day_part, p.day,
        case when p.day_part = 'g' then p.group_key else '{}' end),
      (case when p.with_groups then 'm'::"char" end, p.day_part, p.month,
        case when p.day_part = 'g' then p.group_key else '{}' end)
  ) as c (period_type, part, period_start, group_key)
  where c.period_type is not null
  group by p.meter_id, c.period_type, c.part, c.period_start, c.group_key
  order by p.meter_id, c.period_type, c.part, c.period_start, c.group_key
  on conflict (tenant_id, meter_id, period_type, part, period_start, group_key) do update set
    event_count = s.event_count + excluded.event_count,
    value_count = s.value_count + excluded.value_count,
    value_sum = coalesce(s.value_sum + excluded.value_sum, s.value_sum, excluded.value_sum),
    value_min = least(s.value_min, excluded.value_min),
    value_max = greatest(s.value_max, excluded.value_max),
    value_errors = s.value_errors + excluded.value_errors,
    uniques = coalesce(public.hll_union(s.uniques, excluded.uniques), s.uniques, excluded.uniques),
    largest_group = s.largest_group + excluded.largest_group,
    revision = s.revision + (s.final_at is not null)::integer,
    updated_at = excluded.updated_at,
    final_at = null,
    value_histogram = coalesce(
      tally.histogram_compact(s.value_histogram || excluded.value_histogram), s.value_histogram,
      excluded.value_histogram);
end
$$;
alter function tally.add_meter_summaries owner to tally_owner;
revoke all on function tally.add_meter_summaries from public;
comment on function tally.add_meter_summaries is
  'Adds quarter hours of groups to the quarter hours, days and months of a tenant''s meters, under its lock.';
