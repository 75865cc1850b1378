create table tally.erasures (
  tenant_id uuid not null,
  erasure_id uuid not null,
  requested_at timestamptz not null default now(),
  finished_at timestamptz,
  searched_to timestamptz not null default '-infinity',
  event_count bigint not null default 0,
  first_occurred_at timestamptz,
  last_occurred_at timestamptz,
  day_count integer not null default 0,
  primary key (tenant_id, erasure_id)
);
comment on table tally.erasures is
  'Certificates: what was removed when the events of an actor were erased, without saying whose they were.';
comment on column tally.erasures.finished_at is 'NULL while steps remain.';
comment on column tally.erasures.searched_to is 'Events before this moment have been searched.';
comment on column tally.erasures.day_count is 'Local days whose summaries were recomputed.';

alter table tally.erasures enable row level security;
create policy own_tenant on tally.erasures
  using (tenant_id = tally.current_tenant())
  with check (tenant_id = tally.current_tenant());
grant select on tally.erasures to tally_tenant;
