-- Makes an API key of a tenant and returns it, this once.
create function api.key_create(
  p_tenant uuid,
  p_name text default 'default',
  p_scopes text[] default array['ingest', 'read', 'admin']
)
returns table (key_id uuid, api_key text)
language plpgsql volatile strict security definer
set search_path = ''
as $$
begin
  return query select * from tally.key_make(p_tenant, p_name, p_scopes);
exception
  when foreign_key_violation then
    raise exception using errcode = 'TY404', message = 'no such tenant';
  when check_violation then
    raise exception using
      errcode = 'TY400', message = 'bad name or scopes',
      hint = 'A name has 1 to 200 characters; scopes are ingest, read and admin.';
end
$$;
alter function api.key_create owner to tally_owner;
revoke all on function api.key_create from public;
grant execute on function api.key_create to tally_service;
comment on function api.key_create is
  'Makes an API key of a tenant and returns it; it cannot be shown again. TY404, TY400 for a bad name or scopes.';
