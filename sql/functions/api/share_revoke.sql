-- Ends a share link. Service processes remember it for PGTALLY_KEY_CACHE_SECONDS, a second by default;
-- after that it shows nothing anywhere. Revoking twice is harmless.
create function api.share_revoke(
  p_tenant uuid, p_share_id uuid, p_by uuid default '00000000-0000-0000-0000-000000000000'
)
returns timestamptz
language plpgsql volatile strict security definer
set search_path = ''
as $$
declare
  v_revoked_at timestamptz;
begin
  select s.revoked_at into v_revoked_at
  from tally.share_links as s
  where s.share_id = p_share_id and s.tenant_id = p_tenant
  for update;
  if not found then
    raise exception using errcode = 'TY404', message = 'no such share link';
  elsif v_revoked_at is null then
    v_revoked_at := clock_timestamp();
    update tally.share_links as s set revoked_at = v_revoked_at where s.share_id = p_share_id;
    perform tally.audit('share.revoke', p_tenant, p_share_id::text, p_by);
  end if;
  return v_revoked_at;
end
$$;
alter function api.share_revoke owner to tally_owner;
revoke all on function api.share_revoke from public;
grant execute on function api.share_revoke to tally_service;
comment on function api.share_revoke is
  'Ends a share link for good and returns when; within PGTALLY_KEY_CACHE_SECONDS no process accepts it. TY404.';
