-- Do the jobs run, and did their last run go well? If not, who holds locks that they may wait for?
-- Cost: a few rows of an index for each job.
create function tally.doctor_jobs()
returns table (check_name text, status text, message text, remedy text)
language plpgsql stable
set search_path = ''
as $$
declare
  v_since timestamptz := (select min(t.created_at) from tally.tenants as t);
  v_holders text := tally.lock_holders(p_older_than => '1 s');
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
      (
        select r.finished_at
        from tally.job_runs as r
        where r.job = j.job and r.status = 'done'
        order by r.started_at desc
        limit 1
      ) as last_at,
      (
        select r.error
        from tally.job_runs as r
        where r.job = j.job and r.finished_at is not null
        order by r.started_at desc
        limit 1
      ) as error
    from jobs as j
  )
  select
    'job ' || r.job as check_name,
    s.status,
    case s.status when 'failed' then 'the last run failed: ' || r.error
      else 'last finished ' || coalesce(r.last_at::text, 'never') end
    || case when s.status <> 'ok' then coalesce('; locks are held by ' || v_holders, '') else '' end
    as message,
    r.command || '; then look at cron.job and cron.job_run_details' as remedy
  from runs as r
  cross join lateral (
    select case
      when r.error is not null then 'failed'
      when coalesce(r.last_at, v_since) < now() - r.late_after then 'late'
      else 'ok'
    end as status
  ) as s;
end
$$;
alter function tally.doctor_jobs owner to tally_owner;
revoke all on function tally.doctor_jobs from public;
comment on function tally.doctor_jobs is 'Checks of the jobs: when each last finished, and with what error.';
