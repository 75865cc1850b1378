-- The jobs and how the last run of each went. Cost: a probe of an index for each job.
create function api.job_list()
returns table (
  job text, status text, started_at timestamptz, finished_at timestamptz, tenant_count integer,
  row_count bigint, healed_count bigint, error text
)
language sql stable security definer
set search_path = ''
as $$
  select
    j.job, r.status, r.started_at, r.finished_at, r.tenant_count, r.row_count, r.healed_count, r.error
  from (
    values ('fold'), ('finalize day'), ('finalize week'), ('finalize month'), ('verify'), ('maintain')
  ) as j (job)
  left join lateral (
    select *
    from tally.job_runs as r
    where r.job = j.job
    order by r.started_at desc
    limit 1
  ) as r on true
$$;
alter function api.job_list owner to tally_owner;
revoke all on function api.job_list from public;
grant execute on function api.job_list to tally_service;
comment on function api.job_list is
  'Each job and its last run: when, how it went, how much it did. For the installation''s admin.';
