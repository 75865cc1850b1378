-- The tenant of this name, if an import of a copy of p_source made it: an import that is run again
-- goes on with its own tenant, never with one that has the name by chance.
create function tally.tenant_import_find(p_name text, p_source uuid)
returns table (tenant_id uuid)
language plpgsql stable strict
set search_path = ''
as $$
begin
  return query
  select t.tenant_id
  from tally.tenants as t
  where t.name = p_name
    and t.deleted_at is null
    and exists (
      select from tally.audit_log as a
      where a.tenant_id = t.tenant_id
        and a.action = 'tenant.import'
        and a.details ->> 'source' = p_source::text);
end
$$;
alter function tally.tenant_import_find owner to tally_owner;
revoke all on function tally.tenant_import_find from public;
comment on function tally.tenant_import_find is
  'The tenant of this name that an import of p_source''s copy has made; no row if there is none.';
