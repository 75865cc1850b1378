-- Closes a row in job_runs.
create function tally.job_finish(
  p_run bigint, p_tenants integer, p_rows bigint, p_healed bigint default 0, p_error text default null
)
returns void
language plpgsql volatile
set search_path = ''
as $$
declare
  v_now timestamptz := clock_timestamp();
begin
  update tally.job_runs
  set
    finished_at = v_now,
    status = case when p_error is null then 'done' else 'failed' end,
    tenant_count = p_tenants,
    row_count = p_rows,
    healed_count = p_healed,
    error = p_error
  where job_run_id = p_run;
end
$$;
alter function tally.job_finish owner to tally_owner;
revoke all on function tally.job_finish from public;
comment on function tally.job_finish is 'Closes a row in job_runs: done, or failed with the error.';
