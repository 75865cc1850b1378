"""What a login needs that installs pgtally, and what it can give itself."""

import contextlib
from typing import Any

import msgspec
import psycopg

# A row for each thing that is missing. can_try: this login may be able to do it itself. Superusers
# pass every check but those of unsafe roles and of hll. Runs in psql too; needs nothing of pgtally.
MISSING_RIGHTS = """
with me as (
  select
    r.oid, r.rolname as name, r.rolsuper, r.rolinherit, r.rolcreaterole,
    d.datname as database,
    current_setting('server_version_num')::integer >= 160000 as is_16
  from pg_roles as r, pg_database as d
  where r.rolname = current_user and d.datname = current_database()
),
ours (position, name, attribute, is_joined) as (
  values
    (1, 'tally_owner', 'nologin', true), (2, 'tally_tenant', 'nologin', true),
    (3, 'tally_jobs', 'login', true), (4, 'tally_service', 'login', false),
    (5, 'tally_bi', 'nologin', false)
),
roles as (
  select
    o.*, r.oid, r.rolsuper or r.rolbypassrls as is_unsafe,
    m.rolsuper, m.rolinherit, m.rolcreaterole, m.is_16, m.name as me,
    -- Both: to act as the role, and to have its rights without that.
    coalesce(
      pg_has_role(r.oid, case when m.is_16 then 'SET' else 'MEMBER' end)
      and pg_has_role(r.oid, 'USAGE'), false
    ) as has_joined
  from me as m, ours as o
  left join pg_roles as r on r.rolname = o.name
),
extensions as (
  select w.name, w.is_needed, x.extnamespace, a.name is not null as is_available
  from (values ('hll', true), ('pg_cron', false)) as w (name, is_needed)
  left join pg_extension as x on x.extname = w.name
  left join pg_available_extensions as a on a.name = w.name
),
checks (position, can_try, problem, statement) as (
  select 10, false, 'it may not create schemas in this database',
    format('alter database %I owner to %I', database, name)
  from me where not has_database_privilege(database, 'CREATE')
  union all
  select 20, false, 'it may not create the tables of the migration tool in schema public',
    format('grant create on schema public to %I', name)
  from me where not has_schema_privilege('public', 'CREATE')
  union all
  select 21, false, 'schema public, where hll is, is closed to the roles of pgtally',
    'grant usage on schema public to public'
  from pg_namespace as n
  where n.nspname = 'public'
    and not exists (
      select from aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) as a
      where a.grantee = 0 and a.privilege_type = 'USAGE')
  union all
  select 30, true, 'extension hll is missing' || case when is_available then '' else
      ', and so is its package (Debian, Ubuntu: postgresql-'
      || current_setting('server_version_num')::integer / 10000 || '-hll)' end,
    'create extension hll with schema public'
  from extensions where is_needed and extnamespace is null
    and not (is_available and (select rolsuper from me))
  union all
  select 31, false, format('extension %s is in schema %s', name, extnamespace::regnamespace),
    format('drop extension %s; create extension %s with schema public', name, name)
  from extensions where name = 'hll' and extnamespace <> 'public'::regnamespace
  union all
  select 40 + position, true,
    format('role %s is missing and this login may not create roles', name),
    format('create role %s %s', name, attribute)
  from roles where oid is null and not rolsuper
  union all
  select 50 + position, true, format('this login may not act as %s, or lacks its rights', name),
    format('grant %s to %I', name, me) || case
      when is_16 then ' with inherit true, set true'
      when not rolinherit then format('; alter role %I inherit', me)  -- decides before 16
      else '' end
  from roles where is_joined and not has_joined and not rolsuper
  union all
  select 55 + position, false, format('this login may create roles, but not change %s', name),
    format('grant %s to %I with admin true, inherit false, set false', name, me)
  from roles where is_16 and rolcreaterole and not is_joined and oid is not null
    and not pg_has_role(oid, 'USAGE WITH ADMIN OPTION')
  union all
  select 60, true, 'tally_jobs is no member of tally_owner, and this login may not change that',
    'grant tally_owner to tally_jobs'
  from me
  where not rolsuper and not coalesce(pg_has_role(
    (select oid from pg_roles where rolname = 'tally_jobs'),
    (select oid from pg_roles where rolname = 'tally_owner'), 'USAGE'), false)
  union all
  select 70 + position, false, format('role %s ignores row security', name),
    format('alter role %s nosuperuser nobypassrls', name)
  from roles where is_unsafe
  union all
  select 80, false, 'pg_cron is here, but closed to the jobs of pgtally',
    format('grant usage on schema cron to %I with grant option', m.name)
  from me as m, extensions as e
  where e.name = 'pg_cron' and e.extnamespace is not null
    and not has_schema_privilege(to_regnamespace('cron')::oid, 'USAGE WITH GRANT OPTION')
    and not coalesce((
      select has_schema_privilege(r.oid, to_regnamespace('cron')::oid, 'USAGE')
      from roles as r where r.name = 'tally_jobs'), false)
  union all
  select 90, false, 'it may not take the lock that keeps two migrations apart',
    format('grant execute on function pg_catalog.pg_advisory_lock(bigint) to %I', name)
  from me where not has_function_privilege('pg_catalog.pg_advisory_lock(bigint)', 'EXECUTE')
  union all
  select 91, false, format('%s belongs to %s', c.oid::regclass, c.relowner::regrole),
    format('alter table %s owner to %I', c.oid::regclass, m.name)
  from me as m, pg_class as c
  where c.relnamespace = 'public'::regnamespace and c.relkind = 'r'
    and c.relname in ('_yoyo_log', '_yoyo_migration', '_yoyo_version', 'yoyo_lock')
    and not pg_has_role(c.relowner, 'USAGE')
)
select problem, statement, can_try from checks order by position, problem
"""


class Missing(msgspec.Struct):
    """Something that this login lacks, and what gives it."""

    problem: str
    statement: str
    can_try: bool


def missing_rights(connection: psycopg.Connection[Any]) -> list[Missing]:
    """What keeps this login from migrating; nothing, as a rule, for a superuser."""
    return [Missing(*row) for row in connection.execute(MISSING_RIGHTS)]


def prepare(connection: psycopg.Connection[Any]) -> list[Missing]:
    """Makes the roles, joins them and makes the extension as far as this login may; returns what
    is left to an administrator. The connection is in autocommit mode."""
    for _ in range(2):  # A role that has just been made shows what it lacks in the second round.
        for missing in missing_rights(connection):
            if missing.can_try:
                with contextlib.suppress(
                    psycopg.errors.InsufficientPrivilege,
                    psycopg.errors.DuplicateObject,
                    psycopg.errors.UniqueViolation,
                    psycopg.errors.UndefinedFile,
                    psycopg.errors.UndefinedObject,
                ):
                    connection.execute(missing.statement.encode())
    return missing_rights(connection)
