-- The key that asks for another key, where it is one of the tenant: what it may bounds what it hands
-- out. NULL where nothing bounds: for a key of the installation, and for a login in psql, which
-- names none. It is locked against being revoked meanwhile, so that a key which has been revoked,
-- but is still remembered by a service process, makes no key that outlives it.
create function tally.key_asking(p_tenant uuid, p_by uuid) returns tally.api_keys
language plpgsql volatile
set search_path = ''
as $$
declare
  v_asking tally.api_keys;
begin
  if p_by = '00000000-0000-0000-0000-000000000000' then
    return null;
  end if;
  select k.* into v_asking
  from tally.api_keys as k
  where k.key_id = p_by
    and (k.tenant_id = p_tenant or k.tenant_id is null)
    and k.revoked_at is null
    and (k.expires_at is null or k.expires_at > now())
  for key share;
  if not found then
    raise exception using
      errcode = 'TY403', message = 'the key that asks is revoked, expired, or not of this tenant';
  elsif v_asking.tenant_id is null then
    return null;
  end if;
  return v_asking;
end
$$;
alter function tally.key_asking owner to tally_owner;
revoke all on function tally.key_asking from public;
comment on function tally.key_asking is
  'The key of the tenant that asks for another; NULL for a key of the installation and for zeros. TY403 if it is not valid.';
