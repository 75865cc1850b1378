-- What belongs to the database and not to a schema: its privileges, and the settings of our roles in
-- it. A copy or a restored dump lacks them, so `pgtally migrate` calls this each time.
create function tally.claim_database() returns void
language plpgsql volatile
set search_path = ''
as $$
declare
  v_setting record;
begin
  execute format('revoke create, temporary on database %I from public', current_database());
  execute format(
    'grant connect on database %I to tally_service, tally_jobs, tally_bi', current_database());
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
