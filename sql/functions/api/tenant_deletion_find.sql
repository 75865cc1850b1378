-- The certificate of a tenant's deletion, from the moment that it was asked for, for ever. For the
-- installation's admin.
create function api.tenant_deletion_find(p_tenant uuid)
returns table (
  tenant_id uuid, state text, event_count bigint, first_occurred_at timestamptz,
  last_occurred_at timestamptz, summary_count bigint, requested_at timestamptz,
  finished_at timestamptz, logins_left text[]
)
language sql stable strict security definer
set search_path = ''
as $$ select * from tally.tenant_deletion(p_tenant) $$;
alter function api.tenant_deletion_find owner to tally_owner;
revoke all on function api.tenant_deletion_find from public;
grant execute on function api.tenant_deletion_find to tally_service;
comment on function api.tenant_deletion_find is
  'The certificate of a tenant''s deletion: marked, removing or done, what was removed so far, and BI logins that are left; no row if nobody deleted it.';
