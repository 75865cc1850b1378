-- Adds quarter hours of deltas to the summaries: to the quarter hours, and to the days, weeks and
-- months that hold them. Late events need no special case; a final row that changes loses final_at
-- and starts a new revision. The caller holds the tenant's lock, and deletes the deltas in the same
-- transaction. Quarter hours are put together to days, these to rows of all types, both to weeks and
-- months, and written in the order of the key: 15 us a row, where each quarter hour added seven times took 40.
create function tally.add_summaries(p_tenant tally.tenant_context, p_rows tally.summaries[])
returns void
language plpgsql volatile strict
set search_path = ''
-- A sketch takes 128 kB while it is aggregated: one after the other, not all at once.
set enable_hashagg = off
-- A plan for each array costs more than a small tenant's rows.
set plan_cache_mode = force_generic_plan
as $$
declare
  v_locked_at timestamptz := clock_timestamp();
  v_days_told_to timestamptz := tally.told_to(p_tenant, 'day');
  v_weeks_told_to timestamptz := tally.told_to(p_tenant, 'week');
  v_months_told_to timestamptz := tally.told_to(p_tenant, 'month');
begin
  insert into tally.summaries as s (
    tenant_id, period_type, kind, period_start, event_type, event_count, value_count, value_sum,
    value_min, value_max, actors, updated_at, revision, local_start
  )
  with quarters as materialized (
    select q.*, tally.local_date(q.period_start, p_tenant.time_zone) as on_day
    from unnest(p_rows) as q
  ),
  days as materialized (
    select
      q.on_day, q.event_type, sum(q.event_count)::bigint as event_count,
      sum(q.value_count)::bigint as value_count, sum(q.value_sum) as value_sum,
      min(q.value_min) as value_min, max(q.value_max) as value_max,
      public.hll_union_agg(q.actors) as actors
    from quarters as q
    group by q.on_day, q.event_type
  ),
  kinds as materialized (
    select 'event_type'::"char" as kind, d.*
    from days as d
    union all
    select
      'all'::"char", d.on_day, '', sum(d.event_count)::bigint, sum(d.value_count)::bigint,
      sum(d.value_sum), min(d.value_min), max(d.value_max), public.hll_union_agg(d.actors)
    from days as d
    group by d.on_day
  )
  select
    p_tenant.tenant_id, r.period_type::"char", r.kind, r.period_start, r.event_type, r.event_count,
    r.value_count, r.value_sum, r.value_min, r.value_max, r.actors, v_locked_at,
    -- Nothing was a final figure too, if finalize has passed there.
    case when r.period_start < r.told_to then p_tenant.late_revision else 1 end,
    tally.local_time(r.period_start, p_tenant.time_zone)
  from (
    select
      'quarter_hour' as period_type, q.kind, q.period_start, q.event_type, q.event_count,
      q.value_count, q.value_sum, q.value_min, q.value_max, q.actors, null::timestamptz as told_to
    from quarters as q
    union all
    select
      g.period_type, g.kind, tally.day_start(g.first_on, p_tenant.time_zone), g.event_type,
      g.event_count, g.value_count, g.value_sum, g.value_min, g.value_max, g.actors, g.told_to
    from (
      select
        p.period_type, k.kind, p.first_on, p.told_to, k.event_type,
        sum(k.event_count)::bigint as event_count,
        sum(k.value_count)::bigint as value_count, sum(k.value_sum) as value_sum,
        min(k.value_min) as value_min, max(k.value_max) as value_max,
        public.hll_union_agg(k.actors) as actors
      from kinds as k
      cross join lateral (
        values
          ('day', k.on_day, v_days_told_to),
          ('week', tally.first_date(k.on_day, 'week', p_tenant.week_start), v_weeks_told_to),
          ('month', tally.first_date(k.on_day, 'month', p_tenant.week_start), v_months_told_to)
      ) as p (period_type, first_on, told_to)
      group by p.period_type, k.kind, p.first_on, p.told_to, k.event_type
    ) as g
  ) as r
  order by 2, 3, 4, 5
  on conflict (tenant_id, period_type, kind, period_start, event_type) do update set
    event_count = s.event_count + excluded.event_count,
    value_count = s.value_count + excluded.value_count,
    value_sum = coalesce(s.value_sum + excluded.value_sum, s.value_sum, excluded.value_sum),
    value_min = least(s.value_min, excluded.value_min),
    value_max = greatest(s.value_max, excluded.value_max),
    actors = coalesce(public.hll_union(s.actors, excluded.actors), s.actors, excluded.actors),
    revision = s.revision + (s.final_at is not null)::integer,
    updated_at = excluded.updated_at,
    final_at = null;
end
$$;
alter function tally.add_summaries owner to tally_owner;
revoke all on function tally.add_summaries from public;
comment on function tally.add_summaries is
  'Adds quarter hours of deltas to the quarter hours, days, weeks and months of a tenant, under its lock.';
