-- Meters: an index for questions about properties. Of each meter there are totals (quarter hours,
-- days, months) and, where it has dimensions, groups (days, months). A day keeps its first or largest
-- max_groups groups; what else there is adds up in one row, `other`, and what lacks a dimension in
-- another, `missing`, so that groups + missing + other = total in every snapshot.

create type tally.question as (
  event_types text[],
  filters jsonb,
  actor_id text,
  dimensions text[],
  value_of text,
  unique_of text,
  measure text
);
comment on type tally.question is
  'What is asked of events: which (types, filters on data, actor), grouped by what (type, actorId, sessionId, data.<path>), of which number (value or data.<path>), what is counted distinct, and the measure.';

create type tally.ranked_total as (
  bucket integer,
  part "char",
  rank bigint,
  group_key text[],
  total numeric,
  event_count bigint,
  value_errors bigint,
  group_count bigint,
  is_exact boolean,
  error_bound bigint
);
comment on type tally.ranked_total is
  'A figure of a breakdown: part g a group, with its rank, m missing, o other, with how many groups, t the total.';

create table tally.meters (
  tenant_id uuid not null references tally.tenants,
  meter_id uuid not null default gen_random_uuid(),
  name text not null check (length(name) between 1 and 200),
  version integer not null default 1,
  event_types text[] not null default '{}',
  filters jsonb not null default '[]',
  filter jsonpath,
  dimensions text[] not null default '{}' check (cardinality(dimensions) <= 3),
  value_of text not null default 'value',
  unique_of text not null default 'actorId',
  max_groups integer not null default 100 check (max_groups between 1 and 1000),
  created_at timestamptz not null default now(),
  filled_from timestamptz not null default 'infinity',
  filled_at timestamptz,
  retired_at timestamptz,
  deleted_at timestamptz,
  percentiles boolean not null default false,
  primary key (tenant_id, meter_id),
  constraint meters_deleted_are_retired check (deleted_at is null or retired_at is not null)
);
create unique index meters_name on tally.meters (tenant_id, name, version) where deleted_at is null;
comment on table tally.meters is
  'Questions about properties that are counted as events arrive. A changed meter is a new version, which answers once it is filled.';
comment on column tally.meters.event_types is 'Only these types; all if empty.';
comment on column tally.meters.filters is 'Filters on data, as in the api functions; sorted, so that equal filters are equal.';
comment on column tally.meters.filter is 'The same as a jsonpath (tally.filter_path).';
comment on column tally.meters.dimensions is 'What its groups are: up to three of type, actorId, sessionId, data.<path>.';
comment on column tally.meters.value_of is 'The number that is summed: value or data.<path>.';
comment on column tally.meters.unique_of is 'What is counted distinct: actorId, sessionId or data.<path>.';
comment on column tally.meters.max_groups is 'How many groups a day keeps; the rest is in its row `other`.';
comment on column tally.meters.filled_from is 'Its days are complete from here on; earlier ones are answered from raw events.';
comment on column tally.meters.filled_at is 'When all days were filled that had raw events; NULL while it is filling.';
comment on column tally.meters.retired_at is 'When a newer version had taken over: it counts no more, and keeps the days whose raw events are gone.';
comment on column tally.meters.deleted_at is 'When it was deleted: its name is free, its rows are removed in steps, then it goes itself.';
comment on column tally.meters.percentiles is 'Does it keep histograms of its numbers, for percentiles?';

alter table tally.meters enable row level security;
create policy own_tenant on tally.meters
  using (tenant_id = tally.current_tenant())
  with check (tenant_id = tally.current_tenant());
grant select on tally.meters to tally_tenant;
grant select on tally.meters to tally_bi;

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

create type tally.meter_entry as (
  group_key text[],
  event_count bigint,
  value_count bigint,
  value_sum numeric,
  value_min numeric,
  value_max numeric,
  value_errors bigint,
  unique_hashes bytea,
  value_histogram bytea
);
comment on type tally.meter_entry is
  'What a batch added to a group of a meter; group_key is NULL where a dimension is absent.';

create table tally.meter_deltas (
  tenant_id uuid not null,
  delta_id bigint generated always as identity,
  meter_id uuid not null,
  quarter_hour timestamptz not null,
  entries tally.meter_entry[] not null,
  primary key (tenant_id, delta_id)
) with (
  -- A queue, as tally.summary_deltas.
  autovacuum_vacuum_scale_factor = 0,
  autovacuum_vacuum_threshold = 5000,
  autovacuum_analyze_scale_factor = 0,
  autovacuum_analyze_threshold = 5000
);
comment on table tally.meter_deltas is
  'What ingest inserted and fold has not yet added to the meters: one row for each meter and quarter hour of a batch, its groups packed.';

alter table tally.meter_deltas enable row level security;
create policy own_tenant on tally.meter_deltas
  using (tenant_id = tally.current_tenant())
  with check (tenant_id = tally.current_tenant());
grant select, insert on tally.meter_deltas to tally_tenant;
grant select on tally.meter_deltas to tally_bi;

create table tally.meter_summaries (
  tenant_id uuid not null,
  meter_id uuid not null,
  period_type "char" not null
    constraint meter_summaries_period_type_check check (period_type in ('q', 'd', 'm')),
  part "char" not null constraint meter_summaries_part_check check (part in ('t', 'g', 'm', 'o')),
  period_start timestamptz not null,
  group_key text[] not null default '{}',
  event_count bigint not null,
  value_count bigint not null,
  value_sum numeric,
  value_min numeric,
  value_max numeric,
  value_errors bigint not null default 0,
  uniques public.hll,
  largest_group bigint not null default 0,
  revision integer not null default 1,
  updated_at timestamptz not null default now(),
  final_at timestamptz,
  value_histogram bytea,
  primary key (tenant_id, meter_id, period_type, part, period_start, group_key)
) with (fillfactor = 80);
comment on table tally.meter_summaries is
  'The totals and groups of meters. Together with the deltas not yet folded they equal the raw events at every moment, for the days that are filled.';
comment on column tally.meter_summaries.period_type is 'q quarter_hour (totals only), d day, m month; weeks are made of days.';
comment on column tally.meter_summaries.part is 't: the total. g: a group. m: the events that lack one of the dimensions. o: the groups that the day does not keep.';
comment on column tally.meter_summaries.group_key is 'The values of the dimensions; empty but for groups.';
comment on column tally.meter_summaries.value_errors is 'Events whose number was none.';
comment on column tally.meter_summaries.uniques is 'hll sketch of what is counted distinct, as tally.summaries.actors.';
comment on column tally.meter_summaries.largest_group is 'Of `other`: no group in it has more events than this.';
comment on column tally.meter_summaries.revision is 'Of days: starts at 1 and goes up each time that a final row changes.';
comment on column tally.meter_summaries.final_at is 'Of days: when the row was last checked against the raw events after the day had ended.';
comment on column tally.meter_summaries.value_histogram is 'Of meters with percentiles: the histogram of the numbers (tally.histogram_entry).';
create index meter_summaries_revised on tally.meter_summaries (tenant_id, updated_at) where revision > 1;

alter table tally.meter_summaries enable row level security;
create policy own_tenant on tally.meter_summaries
  using (tenant_id = tally.current_tenant())
  with check (tenant_id = tally.current_tenant());
grant select on tally.meter_summaries to tally_tenant;
grant select on tally.meter_summaries to tally_bi;
