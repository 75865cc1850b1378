-- What readiness asks, of anybody: which kinds of trouble there are, in a few fixed words that name
-- no tenant and nothing of the database; api.service_details has the details. Cost: a millisecond,
-- from the last runs of the jobs and from statistics; waits for no lock.
create function api.service_status()
returns table (trouble text[])
language plpgsql stable security definer
set search_path = ''
set lock_timeout = '50ms'
as $$
begin
  return query
  select array(
    select distinct 'jobs ' || j.status from tally.doctor_jobs() as j where j.status <> 'ok'
    union all
    select 'backlog'
    where pg_catalog.pg_stat_get_live_tuples('tally.summary_deltas'::regclass) > 1000000
    union all
    select 'locked' from tally.doctor_locks() as l where l.status <> 'ok'
  );
exception when lock_not_available then
  return query select array['locked'];
end
$$;
alter function api.service_status owner to tally_owner;
revoke all on function api.service_status from public;
grant execute on function api.service_status to tally_service;
comment on function api.service_status is
  'Which kinds of trouble there are, in fixed words: jobs failed, jobs late, backlog, locked.';
