-- depends: 0012.meter_views
-- Meters with percentiles: histograms beside the other figures.
set local lock_timeout = '5s';
set local statement_timeout = '10min';
set local role tally_owner;

-- Histograms of numbers, from which percentiles are read with an error of less than 1 %. An entry is 8
-- bytes, a bucket in the upper 16 bits and how many numbers it has in the lower 48, so that to put two
-- histograms behind one another is to add them. A bucket reaches from one power of 1.0099/0.9901 to the
-- next: 116 a factor of 10, negative numbers beside them. What is closer to 0 than 1e-15 counts as 0.
create function tally.histogram_entry(p_number numeric) returns bytea
language sql immutable parallel safe
as $$
  select int8send(case
    when p_number >= 1e-15 then 2000 + ceil(ln(p_number::float8) / (ln(1.0099::float8) - ln(0.9901::float8)))::bigint
    when p_number <= -1e-15 then -2000 - ceil(ln((-p_number)::float8) / (ln(1.0099::float8) - ln(0.9901::float8)))::bigint
    when p_number is not null then 0
  end << 48 | 1)
$$;
comment on function tally.histogram_entry(numeric) is 'The histogram of one number; NULL for NULL. Inlined.';
revoke all on function tally.histogram_entry(numeric) from public;
grant execute on function tally.histogram_entry(numeric) to tally_tenant;

-- Added up by bucket and in order, so that histograms of the same numbers are equal, whatever they were
-- made of. Cost: 1 us an entry.
create function tally.histogram_compact(p_histogram bytea) returns bytea
language plpgsql immutable strict parallel safe
as $$
declare
  -- Not compressed from here on: substr would unpack it for each entry.
  v_histogram bytea := p_histogram || ''::bytea;
begin
  if length(v_histogram) = 8 then
    return v_histogram;
  end if;
  return (
    select string_agg(int8send(b.bucket << 48 | b.numbers), '' order by b.bucket)
    from (
      select e.entry >> 48 as bucket, sum(e.entry & 281474976710655)::bigint as numbers
      from (
        select ('x' || encode(substr(v_histogram, i * 8 + 1, 8), 'hex'))::bit(64)::bigint as entry
        from generate_series(0, length(v_histogram) / 8 - 1) as i
      ) as e
      group by 1
    ) as b);
end
$$;
comment on function tally.histogram_compact(bytea) is
  'A histogram with one entry a bucket, in order; NULL for NULL.';
revoke all on function tally.histogram_compact(bytea) from public;
grant execute on function tally.histogram_compact(bytea) to tally_tenant;

-- The smallest number that at least these shares of all numbers do not exceed, as percentile_disc has
-- it: the middle of its bucket, to five digits, and within the smallest and the largest number.
create function tally.histogram_percentiles(
  p_histogram bytea, p_fractions float8[], p_min numeric, p_max numeric
)
returns numeric[]
language plpgsql immutable strict parallel safe
as $$
declare
  v_histogram bytea := p_histogram || ''::bytea;
begin
  return (
    with buckets as materialized (
      select
        b.bucket,
        sum(b.numbers) over (order by b.bucket)::float8 as numbers_to_here,
        sum(b.numbers) over ()::float8 as numbers
      from (
        select e.entry >> 48 as bucket, sum(e.entry & 281474976710655) as numbers
        from (
          select ('x' || encode(substr(v_histogram, i * 8 + 1, 8), 'hex'))::bit(64)::bigint as entry
          from generate_series(0, length(v_histogram) / 8 - 1) as i
        ) as e
        group by 1
      ) as b
    )
    select array_agg(
      greatest(p_min, least(p_max, case
        when p.bucket = 0 then 0
        else sign(p.bucket)::numeric
          * trim_scale(round(m.middle::numeric, 4 - floor(log(m.middle))::integer))
      end))
      order by p.i)
    from (
      select
        f.i,
        (select min(b.bucket) from buckets as b where b.numbers_to_here >= ceil(f.fraction * b.numbers)
        ) as bucket
      from unnest(p_fractions) with ordinality as f (fraction, i)
    ) as p
    cross join lateral (
      select exp((abs(p.bucket) - 2000) * (ln(1.0099::float8) - ln(0.9901::float8))) * 0.9901 as middle
    ) as m);
end
$$;
comment on function tally.histogram_percentiles(bytea, float8[], numeric, numeric) is
  'Percentiles of a histogram of numbers, whose smallest and largest are given, with an error of less than 1 %; NULL for NULL.';
revoke all on function tally.histogram_percentiles(bytea, float8[], numeric, numeric) from public;
grant execute on function tally.histogram_percentiles(bytea, float8[], numeric, numeric) to tally_tenant, tally_bi;

alter table tally.meters add column percentiles boolean not null default false;
comment on column tally.meters.percentiles is 'Does it keep histograms of its numbers, for percentiles?';
alter type tally.meter_entry add attribute value_histogram bytea;
alter table tally.meter_summaries add column value_histogram bytea;
comment on column tally.meter_summaries.value_histogram is 'Of meters with percentiles: the histogram of the numbers (tally.histogram_entry).';

-- What meters have counted, live: rows and what is not yet folded, in the days that each version of a
-- meter answers for (as tally.meter_versions has them), and weeks and months made of days. A period of
-- which days are not filled, or were gone before the meter was made, is not there.
create or replace view tally.live_meters with (security_invoker) as
with versions as not materialized (
  select
    m.tenant_id, m.name, m.meter_id, m.dimensions, m.filled_from as covers_from,
    coalesce(min(m.filled_from) over (
      partition by m.tenant_id, m.name order by m.version desc
      rows between unbounded preceding and 1 preceding), 'infinity') as covers_to,
    min(m.filled_from) over (partition by m.tenant_id, m.name) as known_from
  from tally.meters as m
  where m.deleted_at is null
),
live as (
  select
    v.tenant_id, v.name, v.known_from, s.period_start as day, s.part, s.group_key, s.event_count,
    s.value_count, s.value_sum, s.value_min, s.value_max, s.value_errors, s.uniques, s.final_at,
    s.revision, s.value_histogram
  from versions as v
  join tally.meter_summaries as s
    on s.tenant_id = v.tenant_id
    and s.meter_id = v.meter_id
    and s.period_type = 'd'::"char"
    and s.period_start >= v.covers_from
    and s.period_start < v.covers_to
  union all
  select
    v.tenant_id, v.name, v.known_from, d.quarter_hour, k.part,
    case when k.part = 'g'::"char" then e.group_key else '{}' end, e.event_count, e.value_count,
    e.value_sum, e.value_min, e.value_max, e.value_errors, tally.hashes_hll(e.unique_hashes),
    null::timestamptz, 1, e.value_histogram
  from versions as v
  join tally.meter_deltas as d
    on d.tenant_id = v.tenant_id
    and d.meter_id = v.meter_id
    and d.quarter_hour >= v.covers_from
    and d.quarter_hour < v.covers_to
  cross join lateral unnest(d.entries) as e
  cross join lateral (
    values ('t'::"char"), (case
      when v.dimensions = '{}' then null
      when e.group_key is not null and array_position(e.group_key, null) is null then 'g'
      else 'm' end::"char")
  ) as k (part)
  where k.part is not null
),
periods as (
  select
    l.tenant_id, l.name, p.period_type, b.period_start, l.part, l.group_key,
    tally.period_end(b.period_start, p.period_type, t.time_zone, t.week_start) as period_end,
    tally.local_date(b.period_start, t.time_zone) as period_on,
    sum(l.event_count)::bigint as event_count,
    sum(l.value_count)::bigint as value_count,
    sum(l.value_sum) as value_sum,
    min(l.value_min) as value_min,
    max(l.value_max) as value_max,
    sum(l.value_errors)::bigint as value_errors,
    coalesce(round(public.hll_cardinality(public.hll_union_agg(l.uniques))), 0)::bigint as unique_count,
    count(*) = count(l.final_at) as is_final,
    (1 + sum(l.revision - 1))::integer as revision,
    -- Not where a version of the meter without percentiles has counted days of the period.
    case when coalesce(sum(l.value_count) filter (where l.value_histogram is null), 0) = 0 then
      tally.histogram_percentiles(
        string_agg(l.value_histogram, ''), '{0.5,0.9,0.99}', min(l.value_min), max(l.value_max))
    end as percentiles
  from live as l
  join tally.tenants as t on t.tenant_id = l.tenant_id
  cross join (values ('day'), ('week'), ('month')) as p (period_type)
  cross join lateral tally.period_start(
    l.day, p.period_type, t.time_zone, t.week_start) as b (period_start)
  where b.period_start >= l.known_from
  group by
    l.tenant_id, l.name, p.period_type, b.period_start, l.part, l.group_key, t.time_zone, t.week_start
)
select
  p.tenant_id,
  p.name as meter,
  p.period_type,
  case p.part
    when 'g'::"char" then 'group' when 'm'::"char" then 'missing' when 'o'::"char" then 'other'
    else 'total' end as part,
  p.group_key[1] as dimension_1,
  p.group_key[2] as dimension_2,
  p.group_key[3] as dimension_3,
  p.period_on,
  p.event_count,
  p.value_count,
  p.value_sum,
  p.value_min,
  p.value_max,
  p.value_errors,
  p.unique_count,
  p.is_final and p.period_end <= s.days_finalized_to as is_final,
  p.revision,
  p.percentiles[1] as p50,
  p.percentiles[2] as p90,
  p.percentiles[3] as p99
from periods as p
join tally.tenant_state as s on s.tenant_id = p.tenant_id;

create or replace view bi.meter_days with (security_invoker) as
select
  l.tenant_id, l.meter, l.part, l.dimension_1, l.dimension_2, l.dimension_3, l.period_on, l.event_count,
  l.value_count, l.value_sum, l.value_min, l.value_max, l.value_errors, l.unique_count, l.is_final,
  l.revision, l.p50, l.p90, l.p99
from tally.live_meters as l
where l.period_type = 'day';

create or replace view bi.meter_weeks with (security_invoker) as
select
  l.tenant_id, l.meter, l.part, l.dimension_1, l.dimension_2, l.dimension_3, l.period_on, l.event_count,
  l.value_count, l.value_sum, l.value_min, l.value_max, l.value_errors, l.unique_count, l.is_final,
  l.revision, l.p50, l.p90, l.p99
from tally.live_meters as l
where l.period_type = 'week';

create or replace view bi.meter_months with (security_invoker) as
select
  l.tenant_id, l.meter, l.part, l.dimension_1, l.dimension_2, l.dimension_3, l.period_on, l.event_count,
  l.value_count, l.value_sum, l.value_min, l.value_max, l.value_errors, l.unique_count, l.is_final,
  l.revision, l.p50, l.p90, l.p99
from tally.live_meters as l
where l.period_type = 'month';
comment on column bi.meter_days.p50 is 'The median of the numbers, with an error of less than 1 %; NULL unless the meter has percentiles. Not to be added up or averaged.';
comment on column bi.meter_days.p90 is 'The number that 90 % of them do not exceed, likewise.';
comment on column bi.meter_days.p99 is 'The number that 99 % of them do not exceed, likewise.';

do $$
declare
  v_comment record;
begin
  for v_comment in
    select v.view, a.attname, col_description(a.attrelid, a.attnum) as text
    from pg_catalog.pg_attribute as a
    cross join (values ('bi.meter_weeks'), ('bi.meter_months')) as v (view)
    where a.attrelid = 'bi.meter_days'::regclass
      and a.attname in ('p50', 'p90', 'p99')
  loop
    execute format('comment on column %s.%I is %L', v_comment.view, v_comment.attname, v_comment.text);
  end loop;
end
$$;

insert into tally.schema_migrations (migration_id) values ('0013.meter_percentiles');
