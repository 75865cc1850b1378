-- The share links of a tenant, newest first, revoked and expired ones too. Never the tokens.
create function api.share_list(p_tenant uuid)
returns table (
  share_id uuid, name text, view jsonb, created_at timestamptz, expires_at timestamptz,
  revoked_at timestamptz
)
language sql stable strict security definer
set search_path = ''
as $$
  select s.share_id, s.name, s.view, s.created_at, s.expires_at, s.revoked_at
  from tally.share_links as s
  where s.tenant_id = p_tenant
  order by s.created_at desc, s.share_id
  limit 1000
$$;
alter function api.share_list owner to tally_owner;
revoke all on function api.share_list from public;
grant execute on function api.share_list to tally_service;
comment on function api.share_list is
  'The newest 1,000 share links of a tenant: names, views, when made, expiring, revoked.';
