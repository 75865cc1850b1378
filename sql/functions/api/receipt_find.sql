-- The receipt of a request that carried an Idempotency-Key; no row if none was stored, or if it was
-- too long ago (tally.keep_time). After a time-out it tells whether the request was carried out.
create function api.receipt_find(p_tenant uuid, p_idempotency_key text)
returns table (
  accepted integer, duplicates integer, conflicts integer, response text, created_at timestamptz
)
language plpgsql stable strict security definer
set search_path = ''
as $$
begin
  perform tally.tenant_set_current(p_tenant);
  return query
  select r.accepted, r.duplicates, coalesce(r.conflicts, 0), r.response::text, r.created_at
  from tally.receipts as r
  where r.tenant_id = p_tenant and r.idempotency_key = p_idempotency_key;
end
$$;
alter function api.receipt_find owner to tally_tenant;
revoke all on function api.receipt_find from public;
grant execute on function api.receipt_find to tally_service, tally_owner;
comment on function api.receipt_find is 'The receipt of a request by its idempotency key; no row if there is none.';
