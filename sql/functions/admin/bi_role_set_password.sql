-- Gives a BI login a new password, in place: what it owns, was granted and was set stays. New
-- connections need the new one; open ones go on until they end. Call it as a role that may alter
-- roles; p_password may be a SCRAM verifier, so that the password itself never reaches the server.
create function tally.bi_role_set_password(p_role text, p_password text default '')
returns table (role_name text, password text)
language plpgsql volatile strict
set search_path = ''
as $$
begin
  if p_role !~ '^bi_[0-9a-f]{32}_' or not exists (
    select from pg_catalog.pg_roles as r where r.rolname = p_role)
  then
    raise exception using errcode = 'TY404', message = 'no such BI login';
  end if;
  role_name := p_role;
  password := coalesce(
    nullif(p_password, ''), replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''));
  execute format('alter role %I password %L', p_role, password);
  perform tally.audit('bi_role.set_password', substr(p_role, 4, 32)::uuid, p_role);
  return next;
end
$$;
alter function tally.bi_role_set_password owner to tally_owner;
revoke all on function tally.bi_role_set_password from public;
comment on function tally.bi_role_set_password is
  'Gives a BI login a new password, a random one unless you name it, and returns it, this once. TY404.';
