-- Makes a login for a BI tool: bi_<tenant as 32 hex>_<label>. It reads the views in schema bi, which
-- show it this tenant alone whatever it sets, and nothing else. Settings that a login can change for
-- itself (timeouts, memory, read only) protect against accidents; grants, row security, the
-- connection limit and temp_file_limit are the boundary. That last one takes a superuser, or a login
-- that was granted it; where it stays unset, doctor says so. Call it as a role that may create
-- roles; p_password may be a SCRAM verifier, so that the password itself never reaches the server.
create function tally.bi_role_create(
  p_tenant uuid, p_label text, p_password text default '', p_connection_limit integer default 5
)
returns table (role_name text, password text)
language plpgsql volatile strict
set search_path = ''
as $$
declare
  v_tenant tally.tenant_context;
  v_setting record;
begin
  role_name := 'bi_' || replace(p_tenant::text, '-', '') || '_' || p_label;
  if p_label !~ '^[a-z0-9_]{1,27}$' then
    raise exception using
      errcode = 'TY400', column = 'p_label',
      message = 'a label has 1 to 27 lower-case letters, digits and underscores';
  elsif p_connection_limit not between 1 and 100 then
    raise exception using errcode = 'TY400', message = 'a connection limit is 1 to 100';
  end if;
  v_tenant := tally.tenant_read(p_tenant);
  password := coalesce(
    nullif(p_password, ''), replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''));
  execute format(
    'create role %I login in role tally_bi connection limit %s password %L',
    role_name, p_connection_limit, password);
  for v_setting in
    select *
    from (values
      ('search_path', 'bi'),
      ('timezone', v_tenant.time_zone),
      ('default_transaction_read_only', 'on'),
      ('statement_timeout', '60s'),
      ('lock_timeout', '5s'),
      ('idle_in_transaction_session_timeout', '60s'),
      ('work_mem', '16MB'),
      ('jit', 'off')
    ) as settings (name, value)
  loop
    execute format('alter role %I set %I = %L', role_name, v_setting.name, v_setting.value);
  end loop;
  begin
    execute format('alter role %I set temp_file_limit = ''1GB''', role_name);
  exception when insufficient_privilege then
    null;
  end;
  perform tally.audit('bi_role.create', p_tenant, role_name);
  return next;
exception when duplicate_object then
  raise exception using errcode = 'TY409', message = format('the login %s exists', role_name);
end
$$;
alter function tally.bi_role_create owner to tally_owner;
revoke all on function tally.bi_role_create from public;
comment on function tally.bi_role_create is
  'Makes the login bi_<tenant>_<label> that sees one tenant''s views and returns it with its password, this once. TY400, TY404, TY409, TY410.';
