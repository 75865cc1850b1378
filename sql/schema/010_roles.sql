-- pgtally: exact, live, multi-tenant event analytics.
--
-- An event arrives through api.events_ingest, which inserts it into tally.events and, in the
-- same transaction, appends what it really inserted, grouped by quarter hour and type, to
-- tally.summary_deltas. Every minute tally.fold moves the deltas into tally.summaries
-- (quarter hours, days, weeks, months). Readers add both, so every snapshot sees
-- summaries + deltas = events. tally.finalize checks ended periods against the raw events and
-- marks them final. A range is answered from the coarsest rows that fit it (tally.range_parts).
--
-- Four roles, none of them a superuser, none with BYPASSRLS:
--   tally_owner    owns tables and maintenance; as their owner it sees all tenants
--   tally_tenant   owns the api functions that act for one tenant; subject to row security
--   tally_service  the login of the HTTP service: may execute api functions, nothing else
--   tally_jobs     the login that pg_cron runs the jobs as; a member of tally_owner
-- and tally_bi, the group of the BI logins, each of which sees the views of one tenant.
do $$
declare
  v_role record;
begin
  -- Roles are shared by all databases of a cluster, so another installation may have made them.
  for v_role in
    select *
    from (values
      ('tally_owner', 'nologin'),
      ('tally_tenant', 'nologin'),
      ('tally_bi', 'nologin'),
      ('tally_service', 'login'),
      ('tally_jobs', 'login')
    ) as roles (name, attributes)
    where not exists (select from pg_catalog.pg_roles where rolname = roles.name)
  loop
    begin
      execute format('create role %I %s', v_role.name, v_role.attributes);
    exception when duplicate_object or unique_violation then
      null;
    end;
  end loop;
  -- Who may not grant it may still find it granted by an administrator.
  if not pg_catalog.pg_has_role('tally_jobs', 'tally_owner', 'usage') then
    grant tally_owner to tally_jobs;
  end if;
end
$$;

create extension if not exists hll with schema public;

create schema tally authorization tally_owner;
create schema api authorization tally_owner;
comment on schema tally is 'pgtally: tables and maintenance.';
comment on schema api is 'pgtally: the functions that clients execute.';

-- A new function is executable by nobody until its own file grants it.
alter default privileges for role tally_owner revoke execute on functions from public;
alter default privileges for role tally_tenant revoke execute on functions from public;

create schema bi authorization tally_owner;
comment on schema bi is 'pgtally: the views that BI tools read; each login sees one tenant.';

grant usage on schema tally to tally_tenant, tally_bi;
grant usage on schema bi to tally_tenant, tally_bi;
grant usage on schema api to tally_service, tally_tenant, tally_jobs;

set local role tally_owner;

-- Not a text between quotes, which each session would read anew by its own search_path: a BI login
-- with a schema could put a function `substr` or a type `uuid` of its own there, and be anybody.
create function tally.current_tenant() returns uuid
language sql stable parallel safe
return case
  when current_user = 'tally_tenant' then nullif(current_setting('tally.tenant_id', true), '')::uuid
  when session_user::text ~ '^bi_[0-9a-f]{32}_' then substr(session_user::text, 4, 32)::uuid
end;
comment on function tally.current_tenant() is
  'The tenant that row security shows: inside an api function the setting tally.tenant_id, which it makes for the transaction; for a BI login the tenant in its name, whatever it sets. NULL, and so no row, for everyone else.';
grant execute on function tally.current_tenant() to tally_tenant, tally_bi;
