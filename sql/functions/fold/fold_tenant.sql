-- One step of fold: moves up to p_limit deltas of a tenant, oldest first, into its summaries, and up
-- to p_limit of its meters, in the caller's transaction. What a concurrent reader sees does not change.
-- Without deltas it locks nothing.
create function tally.fold_tenant(p_tenant uuid, p_limit integer default 20000) returns integer
language plpgsql volatile strict
set search_path = ''
-- As in tally.add_summaries; and the queue is read by its key, however small it looked when the plan was made.
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
  v_tenant tally.tenant_context;
  v_rows tally.summaries[];
  v_deltas integer;
  v_last bigint;
begin
  if not exists (select from tally.summary_deltas as d where d.tenant_id = p_tenant)
    and not exists (select from tally.meter_deltas as m where m.tenant_id = p_tenant)
  then
    return 0;
  end if;
  v_tenant := tally.tenant_lock(p_tenant);
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
      p_tenant, 'quarter_hour'::"char", 'event_type'::"char", t.quarter_hour, t.event_type,
      sum(t.event_count)::bigint, sum(t.value_count)::bigint, sum(t.value_sum), min(t.value_min),
      max(t.value_max), tally.hashes_hll(string_agg(t.actor_hashes, '')), 1, now(),
      null::timestamptz, null::timestamp, null::date, null::bigint
    from taken as t
    group by t.quarter_hour, t.event_type
  )
  select coalesce(array_agg(row(q.*)::tally.summaries), '{}'), (select count(*) from taken)
  into v_rows, v_deltas
  from quarters as q;
  if v_deltas > 0 then
    perform tally.add_summaries(v_tenant, v_rows);
  end if;
  return v_deltas + tally.fold_meters(v_tenant, p_limit);
end
$$;
alter function tally.fold_tenant owner to tally_owner;
revoke all on function tally.fold_tenant from public;
comment on function tally.fold_tenant is
  'Folds up to p_limit deltas of a tenant into its summaries, under the tenant''s lock; returns how many.';
