-- What readiness asks: deltas waiting, and a line for everything that tally.doctor finds wrong.
create function api.service_status()
returns table (deltas_waiting bigint, last_fold_at timestamptz, warnings text[])
language plpgsql stable security definer
set search_path = ''
as $$
begin
  return query
  select
    (select count(*) from (select from tally.summary_deltas limit 100000) as d),
    (select max(r.finished_at) from tally.job_runs as r where r.job = 'fold' and r.status = 'done'),
    (
      select coalesce(array_agg(format('%s: %s; run: %s', c.check_name, c.message, c.remedy)), '{}')
      from tally.doctor() as c
      where c.status not in ('ok', 'advice')
    );
end
$$;
alter function api.service_status owner to tally_owner;
revoke all on function api.service_status from public;
grant execute on function api.service_status to tally_service;
comment on function api.service_status is
  'Deltas waiting (counted up to 100,000), when fold last finished, and what tally.doctor finds wrong.';
