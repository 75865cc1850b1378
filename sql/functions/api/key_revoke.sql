-- Ends a key. Service processes remember a key for PGTALLY_KEY_CACHE_SECONDS, a second by default;
-- after that it opens nothing anywhere. Revoking twice is harmless.
create function api.key_revoke(
  p_tenant uuid, p_key_id uuid, p_by uuid default '00000000-0000-0000-0000-000000000000'
)
returns timestamptz
language plpgsql volatile strict security definer
set search_path = ''
as $$
declare
  v_revoked_at timestamptz;
begin
  select k.revoked_at into v_revoked_at
  from tally.api_keys as k
  where k.key_id = p_key_id and k.tenant_id = p_tenant
  for update;
  if not found then
    raise exception using errcode = 'TY404', message = 'no such key';
  elsif v_revoked_at is null then
    v_revoked_at := clock_timestamp();
    update tally.api_keys as k set revoked_at = v_revoked_at where k.key_id = p_key_id;
    perform tally.audit('key.revoke', p_tenant, p_key_id::text, p_by);
  end if;
  return v_revoked_at;
end
$$;
alter function api.key_revoke owner to tally_owner;
revoke all on function api.key_revoke from public;
grant execute on function api.key_revoke to tally_service;
comment on function api.key_revoke is
  'Ends a key for good and returns when; within PGTALLY_KEY_CACHE_SECONDS no process accepts it. TY404.';
