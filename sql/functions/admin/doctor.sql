-- What a DBA should know: a row for each check, what is wrong first, with what to run there. It waits
-- for no lock longer than a tenth of a second: of what is locked it says by whom.
create function tally.doctor()
returns table (check_name text, status text, message text, remedy text)
language plpgsql stable
set search_path = ''
set lock_timeout = '100ms'
as $$
begin
  return query
  select c.check_name, c.status, c.message, case when c.status <> 'ok' then c.remedy end
  from unnest('{jobs,locks,storage,setup,isolation,deletions}'::text[]) as p (part)
  cross join lateral tally.doctor_part(p.part) as c
  order by c.status in ('ok', 'advice'), c.status, c.check_name;
end
$$;
alter function tally.doctor owner to tally_owner;
revoke all on function tally.doctor from public;
comment on function tally.doctor is
  'A row for each check of jobs, locks, backlog, partitions, extensions, roles, policies and the database: ok, late, missing or failed, with what to run; advice: better so, but it works without.';
