-- What readiness and monitoring ask: the newest migration, the age of the oldest delta that waits
-- to be folded, and when the jobs last finished.
create function api.service_status()
returns table (
  deltas_waiting bigint, last_fold_at timestamptz, last_finalize_at timestamptz, last_maintain_at timestamptz
)
language sql stable security definer
set search_path = ''
as $$
  select
    (select count(*) from (select from tally.summary_deltas limit 100000) as d),
    max(r.finished_at) filter (where r.job = 'fold'),
    max(r.finished_at) filter (where r.job = 'finalize day'),
    max(r.finished_at) filter (where r.job = 'maintain')
  from tally.job_runs as r
  where r.status = 'done' and r.started_at > now() - interval '3 days'
$$;
alter function api.service_status owner to tally_owner;
revoke all on function api.service_status from public;
grant execute on function api.service_status to tally_service;
comment on function api.service_status is
  'Deltas waiting (counted up to 100,000) and when fold, finalize and maintain last finished.';
