-- Makes an API key of a tenant and returns it, this once. It works at once, and until p_expires_at.
create function api.key_create(
  p_tenant uuid,
  p_name text default 'default',
  p_scopes text[] default array['ingest', 'read', 'admin'],
  p_expires_at timestamptz default 'infinity',
  p_rate_limits_per_minute jsonb default '{}',
  p_by uuid default '00000000-0000-0000-0000-000000000000'
)
returns table (key_id uuid, key_prefix text, created_at timestamptz, api_key text)
language plpgsql volatile strict security definer
set search_path = ''
as $$
begin
  perform tally.tenant_read(p_tenant);
  return query
  select *
  from tally.key_make(p_tenant, p_name, p_scopes, p_expires_at, p_rate_limits_per_minute, p_by);
exception when foreign_key_violation then
  raise exception using errcode = 'TY404', message = 'no such tenant';
end
$$;
alter function api.key_create owner to tally_owner;
revoke all on function api.key_create from public;
grant execute on function api.key_create to tally_service;
comment on function api.key_create is
  'Makes an API key of a tenant and returns it; it cannot be shown again. p_by is the key that asks, for the audit log. TY404, TY410, TY400 for a bad argument.';
