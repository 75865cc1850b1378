-- What belongs to the database and not to a schema: its privileges, those of PostgreSQL's own
-- functions, and the settings of our roles in it. A copy or a restored dump lacks them, so `pgtally migrate` calls this each time.
create function tally.claim_database() returns void
language plpgsql volatile
set search_path = ''
as $$
declare
  v_setting record;
  v_function regprocedure;
begin
  execute format('revoke create, temporary on database %I from public', current_database());
  execute format(
    'grant connect on database %I to tally_service, tally_jobs, tally_bi', current_database());
  -- A login that may create nothing can still store large objects, fill the WAL with messages, and
  -- stop a migration with an advisory lock: none of these is for everybody.
  for v_function in
    select p.oid
    from pg_catalog.pg_proc as p
    where p.pronamespace = 'pg_catalog'::regnamespace
      and p.proname ~ '^(lo_|loread$|lowrite$|pg_(try_)?advisory_|pg_logical_emit_message$)'
  loop
    execute format('revoke execute on function %s from public', v_function);
  end loop;
  for v_setting in
    select *
    from (values
      ('tally_service', 'statement_timeout', '30s'),
      ('tally_service', 'lock_timeout', '5s'),
      ('tally_service', 'idle_in_transaction_session_timeout', '30s'),
      ('tally_service', 'jit', 'off'),
      ('tally_jobs', 'lock_timeout', '60s'),
      ('tally_jobs', 'jit', 'off')
    ) as settings (role_name, name, value)
  loop
    execute format(
      'alter role %I in database %I set %I = %L',
      v_setting.role_name, current_database(), v_setting.name, v_setting.value);
  end loop;
end
$$;
alter function tally.claim_database owner to tally_owner;
revoke all on function tally.claim_database from public;
comment on function tally.claim_database is
  'Sets the privileges of this database and the settings of our roles in it. Called by a superuser.';
