-- One step of fold: moves up to p_limit deltas of a tenant, oldest first, into its summaries, in
-- the caller's transaction. What a concurrent reader sees does not change. Late events need no
-- special case; a final row that changes loses final_at and starts a new revision.
create function tally.fold_tenant(p_tenant uuid, p_limit integer default 20000) returns integer
language plpgsql volatile strict
set search_path = ''
as $$
declare
  v_tenant tally.tenant_context := tally.tenant_lock(p_tenant);
  v_locked_at timestamptz := clock_timestamp();
  v_deltas integer;
  v_last bigint;
begin
  -- By range: deleting `in (select ... limit)` is quadratic in a nested loop, which the planner
  -- prefers while it takes this queue for empty. A delta with a smaller number that commits later
  -- waits for the next fold.
  select max(o.delta_id) into v_last
  from (
    select d.delta_id from tally.summary_deltas as d
    where d.tenant_id = p_tenant
    order by d.delta_id
    limit p_limit
  ) as o;
  with taken as (
    delete from tally.summary_deltas as d
    where d.tenant_id = p_tenant and d.delta_id <= v_last
    returning *
  ),
  quarters as (
    select
      quarter_hour, event_type, count(*) as deltas, sum(event_count)::bigint as event_count,
      sum(value_count)::bigint as value_count, sum(value_sum) as value_sum,
      min(value_min) as value_min, max(value_max) as value_max,
      tally.hashes_hll(string_agg(actor_hashes, '')) as actors
    from taken
    group by quarter_hour, event_type
  ),
  added as (
    insert into tally.summaries as s (
      tenant_id, period_type, kind, period_start, event_type, event_count, value_count, value_sum,
      value_min, value_max, actors, updated_at, revision
    )
    select
      p_tenant, p.period_type::"char", k.kind, p.period_start, k.event_type,
      sum(q.event_count)::bigint, sum(q.value_count)::bigint, sum(q.value_sum), min(q.value_min),
      max(q.value_max), public.hll_union_agg(q.actors), v_locked_at,
      -- Nothing was a final figure too, if finalize has passed there.
      1 + (p.period_start < tally.finalized_to(v_tenant, p.period_type))::integer
    from quarters as q
    -- Lateral, so that the cost is linear whatever the planner thinks of a CTE's size: joining
    -- periods computed apart once took a nested loop, and a minute.
    cross join lateral tally.local_date(q.quarter_hour, v_tenant.time_zone) as on_day
    cross join lateral (
      values
        ('quarter_hour', q.quarter_hour),
        ('day', tally.day_start(on_day, v_tenant.time_zone)),
        ('week', tally.day_start(
          tally.first_date(on_day, 'week', v_tenant.week_start), v_tenant.time_zone)),
        ('month', tally.day_start(
          tally.first_date(on_day, 'month', v_tenant.week_start), v_tenant.time_zone))
    ) as p (period_type, period_start)
    cross join lateral (
      values ('event_type'::"char", q.event_type), ('all'::"char", '')
    ) as k (kind, event_type)
    where k.kind = 'event_type'::"char" or p.period_type <> 'quarter_hour'
    group by p.period_type, k.kind, p.period_start, k.event_type
    on conflict (tenant_id, period_type, kind, period_start, event_type) do update set
      event_count = s.event_count + excluded.event_count,
      value_count = s.value_count + excluded.value_count,
      value_sum = coalesce(s.value_sum + excluded.value_sum, s.value_sum, excluded.value_sum),
      value_min = least(s.value_min, excluded.value_min),
      value_max = greatest(s.value_max, excluded.value_max),
      actors = coalesce(public.hll_union(s.actors, excluded.actors), s.actors, excluded.actors),
      revision = s.revision + (s.final_at is not null)::integer,
      updated_at = excluded.updated_at,
      final_at = null
  )
  select coalesce(sum(deltas), 0)::integer into v_deltas from quarters;
  return v_deltas;
end
$$;
alter function tally.fold_tenant owner to tally_owner;
revoke all on function tally.fold_tenant from public;
comment on function tally.fold_tenant is
  'Folds up to p_limit deltas of a tenant into its summaries, under the tenant''s lock; returns how many.';
