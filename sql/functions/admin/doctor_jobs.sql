-- Do the jobs run, and did their last run go well?
create function tally.doctor_jobs()
returns table (check_name text, status text, message text, remedy text)
language plpgsql stable
set search_path = ''
as $$
begin
  return query
  with jobs (job, late_after, command) as (
    values
      ('fold', interval '10 minutes', 'call tally.fold()'),
      ('finalize day', interval '26 hours', 'call tally.finalize(''day'')'),
      ('finalize week', interval '8 days', 'call tally.finalize(''week'')'),
      ('finalize month', interval '32 days', 'call tally.finalize(''month'')'),
      ('verify', interval '26 hours', 'call tally.verify_recent()'),
      ('maintain', interval '3 hours', 'call tally.maintain()')
  ),
  runs as (
    select
      j.*,
      (select max(r.finished_at) from tally.job_runs as r where r.job = j.job and r.status = 'done') as last_at,
      (select r.error from tally.job_runs as r where r.job = j.job order by r.job_run_id desc limit 1) as error,
      (select min(t.created_at) from tally.tenants as t) as since
    from jobs as j
  )
  select
    'job ' || r.job as check_name,
    case
      when r.error is not null then 'failed'
      when coalesce(r.last_at, r.since) < now() - r.late_after then 'late'
      else 'ok'
    end as status,
    case
      when r.error is not null then 'the last run failed: ' || r.error
      else 'last finished ' || coalesce(r.last_at::text, 'never')
    end as message,
    r.command || '; then look at cron.job and cron.job_run_details' as remedy
  from runs as r;
end
$$;
alter function tally.doctor_jobs owner to tally_owner;
revoke all on function tally.doctor_jobs from public;
comment on function tally.doctor_jobs is 'Checks of the jobs: when each last finished, and with what error.';
