create table tally.job_runs (
  job_run_id bigint generated always as identity primary key,
  job text not null,
  started_at timestamptz not null default clock_timestamp(),
  finished_at timestamptz,
  backend_pid integer not null default pg_backend_pid(),
  status text not null default 'running' check (status in ('running', 'done', 'failed', 'interrupted')),
  tenant_count integer not null default 0,
  row_count bigint not null default 0,
  healed_count bigint not null default 0,
  error text
);
comment on table tally.job_runs is 'One row for each run of a job, by pg_cron or by hand.';
comment on column tally.job_runs.status is 'interrupted: the backend is gone and the run never finished; the next run completed its work.';
comment on column tally.job_runs.tenant_count is 'Tenants for which the run did something.';
comment on column tally.job_runs.row_count is 'fold: deltas folded; finalize: periods made final; rebuild: periods rebuilt; maintain: rows moved or removed.';
comment on column tally.job_runs.healed_count is 'Summary rows that differed from the raw events and were corrected. Anything but 0 deserves a look.';
create index job_runs_job on tally.job_runs (job, started_at desc);

create table tally.rate_buckets (
  bucket text primary key,
  tokens double precision not null,
  updated_at timestamptz not null
) with (fillfactor = 50);
comment on table tally.rate_buckets is
  'Token buckets of the rate limit, shared by all service processes. Logged, so that a crash of the server fills no bucket; its writes do not wait for the disk.';

alter table tally.job_runs enable row level security;
alter table tally.rate_buckets enable row level security;

create table tally.schema_migrations (
  migration_id text primary key,
  applied_at timestamptz not null default now(),
  sha256 text
);
comment on table tally.schema_migrations is
  'Each migration records itself here in its own transaction, so that one which was cut off before the migration tool had marked it is recognised.';
comment on column tally.schema_migrations.sha256 is 'Of the migration''s text when it was applied: one whose text has changed since is refused.';
alter table tally.schema_migrations enable row level security;
