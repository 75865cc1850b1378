-- Gives a BI login a schema of its own to write to, bi_<tenant as 32 hex>_<name>, and temporary tables:
-- for models of dbt and the like. It writes there and nowhere else; nobody else enters the schema
-- until its owner, who is not the login, grants that. tally.bi_role_drop removes it with the login
-- once it is empty, and a deleted tenant takes it along. PostgreSQL has no quota: what such a login
-- stores is bounded by the disk. Call it as a role that may alter roles and make schemas here.
create function tally.bi_schema_create(p_role text, p_name text) returns text
language plpgsql volatile strict
set search_path = ''
as $$
declare
  v_schema text := substr(p_role, 1, 36) || p_name;
begin
  if p_role !~ '^bi_[0-9a-f]{32}_' or not exists (
    select from pg_catalog.pg_roles as r where r.rolname = p_role)
  then
    raise exception using errcode = 'TY404', message = 'no such BI login';
  elsif p_name !~ '^[a-z0-9_]{1,27}$' then
    raise exception using
      errcode = 'TY400', column = 'p_name',
      message = 'the name of a schema has 1 to 27 lower-case letters, digits and underscores';
  end if;
  execute format('create schema %I authorization tally_owner', v_schema);
  execute format('grant usage, create on schema %I to %I', v_schema, p_role);
  execute format('grant temporary on database %I to %I', current_database(), p_role);
  execute format('alter role %I set default_transaction_read_only = off', p_role);
  execute format('alter role %I set statement_timeout = %L', p_role, '10min');
  perform tally.audit(
    'bi_schema.create', substr(p_role, 4, 32)::uuid, p_role, null,
    jsonb_build_object('schema', v_schema));
  return v_schema;
exception when duplicate_schema then
  raise exception using errcode = 'TY409', message = format('the schema %s exists', v_schema);
end
$$;
alter function tally.bi_schema_create owner to tally_owner;
revoke all on function tally.bi_schema_create from public;
comment on function tally.bi_schema_create is
  'Makes a schema that a BI login may write to, lets it make temporary tables, and returns the schema''s name, bi_<tenant>_<name>. TY400, TY404, TY409.';
