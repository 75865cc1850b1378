-- What a DBA should know: a row for each check, what is wrong first, with what to run there.
create function tally.doctor()
returns table (check_name text, status text, message text, remedy text)
language plpgsql stable
set search_path = ''
as $$
begin
  return query
  select c.check_name, c.status, c.message, case when c.status <> 'ok' then c.remedy end
  from (
    select * from tally.doctor_jobs()
    union all
    select * from tally.doctor_storage()
    union all
    select * from tally.doctor_setup()
    union all
    select * from tally.doctor_isolation()
    union all
    select * from tally.doctor_deletions()
  ) as c
  order by c.status in ('ok', 'advice'), c.status, c.check_name;
end
$$;
alter function tally.doctor owner to tally_owner;
revoke all on function tally.doctor from public;
comment on function tally.doctor is
  'A row for each check of jobs, backlog, partitions, extensions, roles, policies and the database: ok, late, missing or failed, with what to run; advice: better so, but it works without.';
