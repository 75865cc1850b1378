-- Is anything of what isolates tenants missing? Could their BI logins do more than they need?
create function tally.doctor_isolation()
returns table (check_name text, status text, message text, remedy text)
language plpgsql stable
set search_path = ''
as $$
begin
  return query
  select
    'role ' || w.name, case when a.oid is null then 'missing' when a.rolsuper or a.rolbypassrls then 'failed' else 'ok' end,
    case when a.oid is null then 'does not exist' when a.rolsuper or a.rolbypassrls then 'ignores row security' else 'as it should be' end,
    format('alter role %s nosuperuser nobypassrls', w.name)
  from (values ('tally_owner'), ('tally_tenant'), ('tally_service'), ('tally_jobs'), ('tally_bi')) as w (name)
  left join pg_catalog.pg_roles as a on a.rolname = w.name
  union all
  select
    'row security of ' || c.relname,
    case when c.relrowsecurity and (t.attname is null or c.relispartition
      or c.relname in ('api_keys', 'audit_log')
      or exists (select from pg_catalog.pg_policy as p where p.polrelid = c.oid)) then 'ok' else 'missing' end,
    'row security is on and has its policy', format('alter table tally.%I enable row level security', c.relname)
  from pg_catalog.pg_class as c
  left join pg_catalog.pg_attribute as t on t.attrelid = c.oid and t.attname = 'tenant_id'
  where c.relnamespace = 'tally'::regnamespace and c.relkind in ('r', 'p')
  union all
  select
    'BI logins: other databases', case when count(*) = 0 then 'ok' else 'advice' end,
    case when count(*) = 0 then 'they may connect to this one only'
      else 'they may connect to ' || string_agg(d.datname, ', ' order by d.datname)
        || ' too, and leave large objects there' end,
    format(
      'revoke connect on database %s from public; before that, grant it to the logins that need it',
      string_agg(quote_ident(d.datname), ', ' order by d.datname))
  from pg_catalog.pg_database as d
  where d.datallowconn
    and d.datname <> current_database()
    and exists (
      select from tally.bi_role_list() as l
      -- By number: NULL, not an error, for a login that is dropped meanwhile.
      where l.tenant_id is not null
        and has_database_privilege(to_regrole(quote_ident(l.role_name)), d.oid, 'connect'))
  union all
  select
    'BI logins: time zones', case when count(*) = 0 then 'ok' else 'advice' end,
    case when count(*) = 0 then 'they are those of their tenants'
      else 'not that of the tenant for ' || string_agg(l.role_name, ', ' order by l.role_name) end,
    string_agg(
      format('alter role %I set timezone = %L', l.role_name, t.time_zone), '; ' order by l.role_name)
  from tally.bi_role_list() as l
  join tally.tenants as t on t.tenant_id = l.tenant_id
  where not exists (
    select
    from pg_catalog.pg_db_role_setting as s
    cross join unnest(s.setconfig) as c (setting)
    where s.setrole = to_regrole(quote_ident(l.role_name))
      and lower(c.setting) = lower('TimeZone=' || t.time_zone))
  union all
  select
    'BI logins: temporary files', case when count(*) = 0 then 'ok' else 'advice' end,
    case when count(*) = 0 then 'they are bounded'
      else 'unbounded for ' || string_agg(l.role_name, ', ' order by l.role_name) end,
    string_agg(
      format('alter role %I set temp_file_limit = ''1GB''', l.role_name), '; ' order by l.role_name)
  from tally.bi_role_list() as l
  where l.tenant_id is not null
    and current_setting('temp_file_limit') = '-1'
    and not exists (
      select
      from pg_catalog.pg_db_role_setting as s
      cross join unnest(s.setconfig) as c (setting)
      where s.setrole = to_regrole(quote_ident(l.role_name))
        and c.setting like 'temp_file_limit=%');
end
$$;
alter function tally.doctor_isolation owner to tally_owner;
revoke all on function tally.doctor_isolation from public;
comment on function tally.doctor_isolation is 'Checks of roles, row security, policies and what BI logins may use.';
