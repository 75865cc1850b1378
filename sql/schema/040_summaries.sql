create table tally.summary_deltas (
  tenant_id uuid not null,
  delta_id bigint generated always as identity,
  quarter_hour timestamptz not null,
  event_type text not null,
  event_count bigint not null,
  value_count bigint not null,
  value_sum numeric,
  value_min numeric,
  value_max numeric,
  actor_hashes bytea,
  primary key (tenant_id, delta_id)
) with (
  -- A queue: every row is deleted within a minute or so.
  autovacuum_vacuum_scale_factor = 0,
  autovacuum_vacuum_threshold = 5000,
  autovacuum_analyze_scale_factor = 0,
  autovacuum_analyze_threshold = 5000
);
comment on table tally.summary_deltas is
  'What ingest inserted and fold has not yet added to the summaries: append-only, one row for each quarter hour and event type of a batch.';
comment on column tally.summary_deltas.actor_hashes is 'The actors of the batch, 8 bytes each (tally.actor_hash).';

alter table tally.summary_deltas enable row level security;
create policy own_tenant on tally.summary_deltas
  using (tenant_id = tally.current_tenant())
  with check (tenant_id = tally.current_tenant());
grant select, insert on tally.summary_deltas to tally_tenant;
grant select on tally.summary_deltas to tally_bi;

create table tally.summaries (
  tenant_id uuid not null,
  period_type "char" not null
    constraint summaries_period_type_check check (period_type in ('q', 'd', 'w', 'm')),
  kind "char" not null constraint summaries_kind_check check (kind in ('e', 'a')),
  period_start timestamptz not null,
  event_type text not null,
  event_count bigint not null,
  value_count bigint not null,
  value_sum numeric,
  value_min numeric,
  value_max numeric,
  actors public.hll,
  revision integer not null default 1,
  updated_at timestamptz not null default now(),
  final_at timestamptz,
  local_start timestamp not null,
  period_on date generated always as (local_start::date) stored,
  unique_actors bigint,
  primary key (tenant_id, period_type, kind, period_start, event_type)
) with (fillfactor = 80);
comment on table tally.summaries is
  'Totals of each period and event type. Together with the deltas not yet folded they equal the raw events at every moment. A row that was final and has lost all its events, or its period, stays, with 0, so that its change can be told.';
comment on column tally.summaries.period_type is 'What the row covers: q quarter_hour, d day, w week, m month (tally.period_type_name). Quarter hours are cut in UTC; days, weeks and months in the tenant''s time zone. A "char" is one byte and, unlike an enum, its operators are leakproof: under row security an index serves it.';
comment on column tally.summaries.period_start is 'The first instant of the period; for days, weeks and months in the tenant''s time zone.';
comment on column tally.summaries.kind is 'e: of one event type. a: of all event types together, for days, weeks and months, so that a question about all of them reads a row a period.';
comment on column tally.summaries.event_type is 'The event type; empty for kind a.';
comment on column tally.summaries.value_count is 'How many of the events had a value.';
comment on column tally.summaries.actors is 'hll sketch of the distinct actors (log2m 14: exact up to 1,280 actors, standard error 0.8 % above).';
comment on column tally.summaries.revision is 'Starts at 1 and goes up each time that a final figure changes, also from or to nothing.';
comment on column tally.summaries.updated_at is 'When the figures last changed or, if they had been corrected, became final again, by the clock while the tenant was locked: in commit order for each tenant.';
comment on column tally.summaries.final_at is 'When the row was last checked against the raw events after its period had ended; NULL while it is open, and again after a late event. Of a row whose period a change of calendar has done away with, the moment of that change.';
comment on column tally.summaries.local_start is 'period_start on the clock of the tenant''s time zone (tally.local_time). Stored, since no index under row security serves an expression: for conditions of BI tools. A change of time zone updates it.';
comment on column tally.summaries.period_on is 'The first local date of the period.';
create index summaries_local_start on tally.summaries (tenant_id, local_start)
  where period_type = 'q';
create index summaries_period_on on tally.summaries (tenant_id, period_type, period_on)
  where kind = 'e';
comment on column tally.summaries.unique_actors is 'What the sketch of a final row amounts to, so that nobody has to read it: a sketch of thousands of actors takes 10 kB and 0.1 ms. Holds while the row is final; fold and rebuild leave it behind.';
-- Not valid, so that restoring a dump, on a server whose hll may round otherwise, need not compute all.
alter table tally.summaries
  add constraint summaries_unique_actors_check check (
    final_at is null or unique_actors is null
    or unique_actors = coalesce(round(public.hll_cardinality(actors)), 0)) not valid;
create index summaries_open on tally.summaries (tenant_id, period_type, period_start)
  where final_at is null and period_type <> 'q';
create index summaries_revised on tally.summaries (tenant_id, updated_at) where revision > 1;

alter table tally.summaries enable row level security;
create policy own_tenant on tally.summaries
  using (tenant_id = tally.current_tenant())
  with check (tenant_id = tally.current_tenant());
grant select on tally.summaries to tally_tenant;
grant select on tally.summaries to tally_bi;

-- Most deltas of single events have one actor: without a query, which takes 6 us.
create function tally.hashes_hll(p_hashes bytea) returns public.hll
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
comment on function tally.hashes_hll(bytea) is 'The hll sketch of packed actor hashes; NULL for NULL.';
revoke all on function tally.hashes_hll(bytea) from public;
grant execute on function tally.hashes_hll(bytea) to tally_tenant, tally_bi;
