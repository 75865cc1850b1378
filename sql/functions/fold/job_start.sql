-- Opens a row in job_runs. Runs of the same job whose backend is gone are marked interrupted: what
-- they left undone is what this run will find.
create function tally.job_start(p_job text) returns bigint
language plpgsql volatile strict
set search_path = ''
as $$
declare
  v_run bigint;
  v_now timestamptz := clock_timestamp();
  v_pid integer := pg_backend_pid();
begin
  update tally.job_runs as r
  set status = 'interrupted', finished_at = v_now
  where r.job = p_job
    and r.status = 'running'
    and not exists (
      select from pg_catalog.pg_stat_activity as a
      where a.pid = r.backend_pid and a.backend_start <= r.started_at)
    or r.job = p_job and r.status = 'running' and r.backend_pid = v_pid;
  insert into tally.job_runs (job) values (p_job) returning job_run_id into v_run;
  return v_run;
end
$$;
alter function tally.job_start owner to tally_owner;
revoke all on function tally.job_start from public;
comment on function tally.job_start is 'Opens a row in job_runs and returns its id.';
