-- A part of the doctor's checks. If what it looks at is locked, that is what it finds.
create function tally.doctor_part(p_part text)
returns table (check_name text, status text, message text, remedy text)
language plpgsql stable strict
set search_path = ''
as $$
begin
  case p_part
    when 'jobs' then return query select * from tally.doctor_jobs();
    when 'locks' then return query select * from tally.doctor_locks();
    when 'storage' then return query select * from tally.doctor_storage();
    when 'setup' then return query select * from tally.doctor_setup();
    when 'isolation' then return query select * from tally.doctor_isolation();
    when 'deletions' then return query select * from tally.doctor_deletions();
  end case;
exception when lock_not_available then
  return query
  select
    p_part, 'failed',
    'cannot be looked at: locked by ' || coalesce(tally.lock_holders(), 'a transaction that has ended since'),
    'select pg_terminate_backend(pid)';
end
$$;
alter function tally.doctor_part owner to tally_owner;
revoke all on function tally.doctor_part from public;
comment on function tally.doctor_part is
  'The checks of one part: jobs, locks, storage, setup, isolation or deletions; one failed check if its tables are locked.';
