-- depends: 0007.names
-- Reads: final summaries know how many actors they count; waiting deltas are put together before their
-- periods and sketches are made; a single hash becomes a sketch without a query.
set local lock_timeout = '5s';
set local statement_timeout = '10min';
set local role tally_owner;

alter table tally.summaries add column unique_actors bigint;
comment on column tally.summaries.unique_actors is 'What the sketch of a final row amounts to, so that nobody has to read it: a sketch of thousands of actors takes 10 kB and 0.1 ms. Holds while the row is final; fold and rebuild leave it behind.';
-- Not valid, so that restoring a dump, on a server whose hll may round otherwise, need not compute all.
alter table tally.summaries
  add constraint summaries_unique_actors_check check (
    final_at is null or unique_actors is null
    or unique_actors = coalesce(round(public.hll_cardinality(actors)), 0)) not valid;

-- Most deltas of single events have one actor: without a query, which takes 6 us.
create or replace function tally.hashes_hll(p_hashes bytea) returns public.hll
language plpgsql immutable strict parallel safe
as $$
begin
  if length(p_hashes) = 8 then
    return public.hll_add(
      public.hll_empty(14, 5), ('x' || encode(p_hashes, 'hex'))::bit(64)::bigint::public.hll_hashval);
  end if;
  return (
    select public.hll_add_agg(
      ('x' || encode(substr(p_hashes, i * 8 + 1, 8), 'hex'))::bit(64)::bigint::public.hll_hashval, 14, 5)
    from generate_series(0, length(p_hashes) / 8 - 1) as i);
end
$$;

create or replace view tally.live_summaries with (security_invoker) as
with live as (
  select
    s.tenant_id, s.period_type, s.period_start, s.period_on, s.event_type, s.event_count,
    s.value_count, s.value_sum, s.value_min, s.value_max, s.actors, s.final_at, s.revision,
    s.local_start
  from tally.summaries as s
  where s.kind = 'event_type'::"char"
  union all
  select
    d.tenant_id, p.period_type::"char", b.period_start,
    tally.local_date(b.period_start, t.time_zone), d.event_type,
    d.event_count, d.value_count, d.value_sum, d.value_min, d.value_max, d.actors,
    null::timestamptz as final_at, null::integer as revision,
    tally.local_time(b.period_start, t.time_zone)
  from (
    -- A period and a sketch for each quarter hour, not for each delta.
    select
      w.tenant_id, w.quarter_hour, w.event_type, sum(w.event_count)::bigint as event_count,
      sum(w.value_count)::bigint as value_count, sum(w.value_sum) as value_sum,
      min(w.value_min) as value_min, max(w.value_max) as value_max,
      tally.hashes_hll(string_agg(w.actor_hashes, '')) as actors
    from tally.summary_deltas as w
    group by w.tenant_id, w.quarter_hour, w.event_type
  ) as d
  join tally.tenants as t on t.tenant_id = d.tenant_id
  cross join (values ('quarter_hour'), ('day'), ('week'), ('month')) as p (period_type)
  cross join lateral tally.period_start(
    d.quarter_hour, p.period_type, t.time_zone, t.week_start) as b (period_start)
)
select
  l.tenant_id,
  l.period_type,
  l.period_start,
  l.period_on,
  l.event_type,
  sum(l.event_count)::bigint as event_count,
  sum(l.value_count)::bigint as value_count,
  sum(l.value_sum) as value_sum,
  min(l.value_min) as value_min,
  max(l.value_max) as value_max,
  coalesce(round(public.hll_cardinality(public.hll_union_agg(l.actors))), 0)::bigint as unique_actors,
  count(*) = count(l.final_at) as is_final,
  coalesce(max(l.revision), 1) as revision,
  case when count(*) = count(l.final_at) then max(l.final_at) else now() end as as_of,
  l.local_start
from live as l
group by
  l.tenant_id, l.period_type, l.period_start, l.local_start, l.period_on, l.event_type
having sum(l.event_count) > 0;
insert into tally.schema_migrations (migration_id) values ('0008.reads');
