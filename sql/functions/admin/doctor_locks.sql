-- Does a transaction hold, for longer than a job should, what jobs wait for?
create function tally.doctor_locks()
returns table (check_name text, status text, message text, remedy text)
language plpgsql stable
set search_path = ''
as $$
declare
  v_holders text := tally.lock_holders(p_older_than => '5 minutes');
begin
  return query
  select
    'locks', case when v_holders is null then 'ok' else 'late' end,
    coalesce(
      'locks that the jobs need are held by ' || v_holders,
      'nobody has held what the jobs need for 5 minutes'),
    'select pg_terminate_backend(pid), unless it is a job with much to do';
end
$$;
alter function tally.doctor_locks owner to tally_owner;
revoke all on function tally.doctor_locks from public;
comment on function tally.doctor_locks is 'Checks whether a transaction has held locks that jobs wait for, for 5 minutes.';
