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
as $$
declare
  v_id uuid := p_tenant.tenant_id;
  v_zone text := p_tenant.time_zone;
  v_locked_at timestamptz := clock_timestamp();
begin
  insert into tally.meter_summaries as s (
    tenant_id, meter_id, period_type, part, period_start, group_key, event_count, value_count,
    value_sum, value_min, value_max, value_errors, uniques, largest_group, revision, updated_at
  )
  with given as materialized (
    select
      r.*, d.day,
      tally.day_start(tally.first_date(d.on_day, 'month', 1), v_zone) as month,
      cardinality(m.dimensions) > 0 as with_groups, m.max_groups
    from unnest(p_rows) as r
    join tally.meters as m on m.tenant_id = v_id and m.meter_id = r.meter_id
    cross join lateral (
      select
        tally.local_date(r.period_start, v_zone) as on_day,
        tally.day_start(tally.local_date(r.period_start, v_zone), v_zone) as day
    ) as d
  ),
  days as materialized (
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
    where g.with_groups
    group by g.meter_id, g.day
  ),
  ranked as (
    select
      g.meter_id, g.day, g.group_key, k.group_key is not null as is_kept,
      row_number() over (
        partition by g.meter_id, g.day, k.group_key is null
        order by sum(g.event_count) desc, g.group_key) as rank,
      min(g.max_groups) as max_groups
    from given as g
    left join tally.meter_summaries as k
      on k.tenant_id = v_id
      and k.meter_id = g.meter_id
      and k.period_type = 'd'::"char"
      and k.part = 'g'::"char"
      and k.period_start = g.day
      and k.group_key = g.group_key
    where g.with_groups and g.part = 'g'
    group by g.meter_id, g.day, g.group_key, k.group_key
  ),
  parted as (
    select
      g.*,
      case when g.part = 'g' and not (r.is_kept or r.rank + d.kept_count <= r.max_groups) then 'o'
        else g.part end as day_part
    from given as g
    left join ranked as r
      on r.meter_id = g.meter_id and r.day = g.day and r.group_key = g.group_key and g.part = 'g'
    left join days as d on d.meter_id = g.meter_id and d.day = g.day
  )
  select
    v_id, p.meter_id, c.period_type, c.part, c.period_start, c.group_key, sum(p.event_count)::bigint,
    sum(p.value_count)::bigint, sum(p.value_sum), min(p.value_min), max(p.value_max),
    sum(p.value_errors)::bigint, public.hll_union_agg(p.uniques),
    case when c.part = 'o' then sum(p.event_count)::bigint else 0 end,
    -- Nothing was a final figure too, if finalize has passed there.
    1 + (c.period_type = 'd' and c.period_start < p_tenant.days_finalized_to)::integer,
    v_locked_at
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
    final_at = null;
end
$$;
alter function tally.add_meter_summaries owner to tally_owner;
revoke all on function tally.add_meter_summaries from public;
comment on function tally.add_meter_summaries is
  'Adds quarter hours of groups to the quarter hours, days and months of a tenant''s meters, under its lock.';
