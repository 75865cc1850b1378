-- What belongs to the database and not to a schema: its privileges, those of PostgreSQL's own
-- functions, and the settings of our roles in it (tally.database_claims). A copy or a restored dump
-- lacks them, so `pgtally migrate` calls this each time. Without superuser some may stay undone.
create function tally.database_setup() returns setof text
language plpgsql volatile
set search_path = ''
set client_min_messages = error
as $$
declare
  v_claim record;
begin
  for v_claim in
    select c.statement from tally.database_claims() as c where not c.done
  loop
    begin
      -- Its text is made of literals, quoted names and names from the catalog.
      -- @plpgsql_check_options: security_warnings = off
      execute v_claim.statement;
    exception when insufficient_privilege then
      null;
    end;
  end loop;
  return query select c.statement from tally.database_claims() as c where not c.done;
end
$$;
alter function tally.database_setup owner to tally_owner;
revoke all on function tally.database_setup from public;
comment on function tally.database_setup is
  'Sets the privileges of this database and the settings of our roles in it; returns the statements that this login may not run.';
