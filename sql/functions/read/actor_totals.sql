-- Distinct actors in a range by bucket, and by type if asked; as tally.event_totals.
create function tally.actor_totals(
  p_tenant uuid, p_parts timestamptz[], p_boundaries timestamptz[], p_types text[], p_by_type boolean
)
returns table (bucket integer, event_type text, total numeric)
language plpgsql stable
set search_path = ''
-- As in tally.event_totals.
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_sort = off
set max_parallel_workers_per_gather = 0
as $$
begin
  if cardinality(p_types) between 1 and 4 then
    return query
    select
      c.bucket, c.event_type,
      coalesce(
        -- Where one row is all that a bucket has, nothing needs to be united.
        max(case when c.rows = 1 then coalesce(c.unique_actors, round(public.hll_cardinality(c.actors))) end),
        round(public.hll_cardinality(public.hll_union_agg(c.actors) filter (where c.rows > 1))),
        0)::numeric
    from (
      select r.*, count(*) over (partition by r.bucket, r.event_type) as rows
      from (
        select
          width_bucket(t.starts_at, (select p_boundaries)) as bucket,
          case when p_by_type then t.event_type end as event_type, t.actors, t.unique_actors
        from tally.range_rows_of(p_tenant, p_parts, p_types, true) as t
      ) as r
    ) as c
    group by c.bucket, c.event_type;
  else
    return query
    select
      c.bucket, c.event_type,
      coalesce(
        -- Where one row is all that a bucket has, nothing needs to be united.
        max(case when c.rows = 1 then coalesce(c.unique_actors, round(public.hll_cardinality(c.actors))) end),
        round(public.hll_cardinality(public.hll_union_agg(c.actors) filter (where c.rows > 1))),
        0)::numeric
    from (
      select r.*, count(*) over (partition by r.bucket, r.event_type) as rows
      from (
        select
          width_bucket(t.starts_at, (select p_boundaries)) as bucket,
          case when p_by_type then t.event_type end as event_type, t.actors, t.unique_actors
        from tally.range_rows(p_tenant, p_parts, p_types, not p_by_type, true) as t
      ) as r
    ) as c
    group by c.bucket, c.event_type;
  end if;
end
$$;
alter function tally.actor_totals owner to tally_owner;
revoke all on function tally.actor_totals from public;
grant execute on function tally.actor_totals to tally_tenant, tally_bi;
comment on function tally.actor_totals is
  'Number of distinct actors in a range, by bucket and, if asked, type.';
