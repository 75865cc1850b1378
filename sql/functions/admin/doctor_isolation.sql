-- Is anything of what isolates tenants missing?
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
  where c.relnamespace = 'tally'::regnamespace and c.relkind in ('r', 'p');
end
$$;
alter function tally.doctor_isolation owner to tally_owner;
revoke all on function tally.doctor_isolation from public;
comment on function tally.doctor_isolation is 'Checks of roles, row security and policies.';
