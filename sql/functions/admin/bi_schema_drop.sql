-- Removes schemas that BI logins of a tenant wrote to (tally.bi_schema_create), as far as the caller
-- may: all of them with what they hold, if the tenant goes; else those that are empty and that no
-- login may write to any more. Waits at most a second for each; says whether none of these is left.
create function tally.bi_schema_drop(p_tenant uuid, p_all boolean) returns boolean
language plpgsql volatile strict
set search_path = ''
set lock_timeout = '1s'
as $$
declare
  v_schema text;
  v_done boolean := true;
begin
  for v_schema in
    select n.nspname
    from pg_catalog.pg_namespace as n
    where starts_with(n.nspname::text, 'bi_' || replace(p_tenant::text, '-', '') || '_')
      and (p_all or not exists (
        select from aclexplode(n.nspacl) as a
        where a.grantee <> n.nspowner and a.privilege_type = 'CREATE'))
  loop
    begin
      execute format('drop schema %I %s', v_schema, case when p_all then 'cascade' else 'restrict' end);
    exception when others then
      v_done := false;
      raise warning 'schema %: %', v_schema, sqlerrm;
    end;
  end loop;
  return v_done;
end
$$;
alter function tally.bi_schema_drop owner to tally_owner;
revoke all on function tally.bi_schema_drop from public;
comment on function tally.bi_schema_drop is
  'Drops the schemas of a tenant''s BI logins, all with what they hold, or those that are empty and that nobody may write to; false if any of these is left.';
