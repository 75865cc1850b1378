-- The BI logins and whose figures they see.
create function tally.bi_role_list()
returns table (
  role_name text, tenant_id uuid, tenant_name text, connection_limit integer, connections bigint
)
language sql stable
set search_path = ''
as $$
  select
    r.rolname::text, t.tenant_id, t.name, r.rolconnlimit,
    (select count(*) from pg_catalog.pg_stat_activity as a where a.usesysid = r.oid)
  from pg_catalog.pg_roles as r
  left join tally.tenants as t
    on t.tenant_id = case when r.rolname ~ '^bi_[0-9a-f]{32}_' then substr(r.rolname::text, 4, 32)::uuid end
  where r.rolname ~ '^bi_[0-9a-f]{32}_'
  order by t.name, r.rolname
$$;
alter function tally.bi_role_list owner to tally_owner;
revoke all on function tally.bi_role_list from public;
comment on function tally.bi_role_list is
  'Each BI login with its tenant, connection limit and open connections; no tenant for a login whose tenant is not in this database.';
