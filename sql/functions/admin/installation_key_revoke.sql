-- Ends an admin key of the installation. For who has the database.
create function tally.installation_key_revoke(p_key_id uuid) returns timestamptz
language plpgsql volatile strict
set search_path = ''
as $$
declare
  v_revoked_at timestamptz := clock_timestamp();
begin
  update tally.api_keys as k
  set revoked_at = coalesce(k.revoked_at, v_revoked_at)
  where k.key_id = p_key_id and k.tenant_id is null
  returning k.revoked_at into v_revoked_at;
  if not found then
    raise exception using errcode = 'TY404', message = 'no such admin key';
  end if;
  perform tally.audit('key.revoke', null, p_key_id::text);
  return v_revoked_at;
end
$$;
alter function tally.installation_key_revoke owner to tally_owner;
revoke all on function tally.installation_key_revoke from public;
comment on function tally.installation_key_revoke is 'Ends an admin key of the installation and returns when; TY404.';
