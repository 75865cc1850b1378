-- Removes a BI login, its connections and whatever it left behind. Call it as a role that may drop
-- roles, in the database that the login was made for.
create function tally.bi_role_drop(p_role text) returns void
language plpgsql volatile strict
set search_path = ''
as $$
begin
  if p_role !~ '^bi_[0-9a-f]{32}_' or not exists (
    select from pg_catalog.pg_roles as r where r.rolname = p_role)
  then
    raise exception using errcode = 'TY404', message = 'no such BI login';
  end if;
  execute format('alter role %I nologin', p_role);
  -- Who made the login may drop it, but needs its rights to end its sessions and what it owns.
  if not pg_catalog.pg_has_role(p_role, 'usage') then
    execute format('grant %I to current_user', p_role)
      || case when current_setting('server_version_num')::integer >= 160000 then ' with inherit true' else '' end;
  end if;
  perform pg_catalog.pg_terminate_backend(a.pid, 5000)
  from pg_catalog.pg_stat_activity as a
  where a.usename = p_role;
  execute format('drop owned by %I', p_role);
  execute format('drop role %I', p_role);
  perform tally.audit('bi_role.drop', substr(p_role, 4, 32)::uuid, p_role);
end
$$;
alter function tally.bi_role_drop owner to tally_owner;
revoke all on function tally.bi_role_drop from public;
comment on function tally.bi_role_drop is 'Ends the connections of a BI login and drops it. TY404.';
