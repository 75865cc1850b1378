-- What should hold in the database that pgtally lives in, whether it does, and what makes it so. A
-- revoke by someone who may not revoke is a warning, not an error, so only looking tells.
create function tally.database_claims()
returns table (claim text, done boolean, statement text)
language sql stable
set search_path = ''
as $$
  -- A login that may create nothing can still store large objects, fill the WAL with messages, and
  -- stop a migration with an advisory lock: none of these is for everybody.
  with functions as (
    select
      p.oid::regprocedure::text as name, p.proname ~ '^pg_(try_)?advisory_' as is_lock,
      (
        select array_agg(a.grantee)
        from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) as a
      ) as grantees
    from pg_catalog.pg_proc as p
    where p.pronamespace = 'pg_catalog'::regnamespace
      and p.proname ~ '^(lo_|loread$|lowrite$|pg_(try_)?advisory_|pg_logical_emit_message$)'
  )
  select
    'nobody else creates things in this database',
    not exists (
      select from aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) as a
      where a.grantee = 0 and a.privilege_type in ('CREATE', 'TEMPORARY')),
    format('revoke create, temporary on database %I from public', d.datname)
  from pg_catalog.pg_database as d
  where d.datname = current_database()
  union all
  select
    'our logins may connect',
    coalesce(bool_and(has_database_privilege(r.name, current_database(), 'connect')), false),
    format('grant connect on database %I to tally_service, tally_jobs, tally_bi', current_database())
  from (values ('tally_service'), ('tally_jobs'), ('tally_bi')) as r (name)
  union all
  select
    'logins with a schema make temporary tables',
    bool_and(has_database_privilege(r.oid, current_database(), 'temporary')),
    format(
      'grant temporary on database %I to %s', current_database(),
      string_agg(distinct quote_ident(r.rolname), ', '))
  from pg_catalog.pg_namespace as n
  cross join lateral aclexplode(n.nspacl) as a
  join pg_catalog.pg_roles as r on r.oid = a.grantee
  where n.nspname ~ '^bi_[0-9a-f]{32}_'
    and a.grantee <> n.nspowner
    and a.privilege_type = 'CREATE'
  having count(*) > 0
  union all
  select
    'advisory locks are for our functions',
    coalesce(bool_and(f.grantees @> array[to_regrole('tally_owner')::oid, to_regrole('tally_tenant')::oid]), false),
    format('grant execute on function %s to tally_owner, tally_tenant', string_agg(f.name, ', '))
  from functions as f
  where f.is_lock
  union all
  select
    'large objects, advisory locks and WAL messages are not for everybody',
    count(*) = 0,
    format('revoke execute on function %s from public', string_agg(f.name, ', '))
  from functions as f
  where 0 = any (f.grantees)
  union all
  select
    'our jobs see how long others hold locks',
    pg_has_role('tally_owner', 'pg_read_all_stats', 'usage'),
    'grant pg_read_all_stats to tally_owner'
  union all
  select
    format('%s has %s = %s', s.role_name, s.name, s.value),
    exists (
      select from pg_catalog.pg_db_role_setting as x
      where x.setrole = to_regrole(s.role_name)
        and x.setdatabase = (select d.oid from pg_catalog.pg_database as d where d.datname = current_database())
        and x.setconfig @> array[s.name || '=' || s.value]),
    format(
      'alter role %I in database %I set %I = %L', s.role_name, current_database(), s.name, s.value)
  from (values
    ('tally_service', 'statement_timeout', '30s'),
    ('tally_service', 'lock_timeout', '5s'),
    ('tally_service', 'idle_in_transaction_session_timeout', '30s'),
    ('tally_service', 'jit', 'off'),
    ('tally_jobs', 'lock_timeout', '60s'),
    ('tally_jobs', 'jit', 'off')
  ) as s (role_name, name, value)
$$;
alter function tally.database_claims owner to tally_owner;
revoke all on function tally.database_claims from public;
comment on function tally.database_claims is
  'What should hold in this database outside our schemas, whether it does, and the statement that makes it so.';
