-- What POST /events/bulk calls: events_ingest with what a request may ask for besides, in one
-- transaction. An Idempotency-Key makes the whole request safe to repeat, also where its events have
-- no ids: the receipt is stored with them, the same key returns it, and the same key with another
-- fingerprint is TY422. Events that were left out are kept in tally.rejected_events. A dry run does
-- everything and undoes it.
create function api.events_ingest_request(
  p_tenant uuid,
  p_occurred_at timestamptz[],
  p_event_id uuid[],
  p_event_type text[],
  p_value numeric[],
  p_actor_id text[],
  p_session_id text[],
  p_data jsonb[],
  p_rejected jsonb default '[]',
  p_idempotency_key text default '',
  p_fingerprint bytea default '',
  p_response jsonb default '{}',
  p_dry_run boolean default false
)
returns table (
  accepted integer, duplicates integer, conflicts integer, replayed boolean, response text
)
language plpgsql volatile strict security definer
set search_path = ''
as $$
declare
  v_receipt tally.receipts;
begin
  perform tally.tenant_write(p_tenant);
  accepted := 0;
  duplicates := 0;
  conflicts := 0;
  replayed := false;
  response := p_response::text;
  begin
    if p_idempotency_key <> '' then
      -- A concurrent request with the same key waits here until the first one has committed.
      insert into tally.receipts (tenant_id, idempotency_key, fingerprint, response)
      values (p_tenant, p_idempotency_key, p_fingerprint, p_response)
      on conflict do nothing;
      if not found then
        select * into v_receipt
        from tally.receipts as r
        where r.tenant_id = p_tenant and r.idempotency_key = p_idempotency_key;
        if v_receipt.fingerprint <> p_fingerprint then
          raise exception using
            errcode = 'TY422', message = 'this Idempotency-Key was used for another request';
        end if;
        accepted := v_receipt.accepted;
        duplicates := v_receipt.duplicates;
        conflicts := coalesce(v_receipt.conflicts, 0);
        replayed := true;
        response := v_receipt.response::text;
        return next;
        return;
      end if;
    end if;
    if cardinality(p_occurred_at) > 0 or p_rejected = '[]' then
      select i.accepted, i.duplicates, i.conflicts into accepted, duplicates, conflicts
      from api.events_ingest(
        p_tenant, p_occurred_at, p_event_id, p_event_type, p_value, p_actor_id, p_session_id,
        p_data) as i;
      -- A single event, whose answer is the event as it is stored.
      if accepted = 0 and p_response ? 'occurredAt' then
        response := p_response || tally.event_stored(
          p_tenant, p_occurred_at[1], p_event_id[1])::jsonb;
      end if;
    end if;
    if p_rejected <> '[]' then
      perform tally.reject_events(p_tenant, p_rejected);
    end if;
    if p_idempotency_key <> '' then
      update tally.receipts as r
      set
        response = events_ingest_request.response::jsonb,
        accepted = events_ingest_request.accepted,
        duplicates = events_ingest_request.duplicates,
        conflicts = events_ingest_request.conflicts
      where r.tenant_id = p_tenant and r.idempotency_key = p_idempotency_key;
    end if;
    if p_dry_run then
      raise exception using errcode = 'TYDRY';
    end if;
  exception when sqlstate 'TYDRY' then
    -- A dry run: what was done in this block is undone, what was counted stays.
    null;
  end;
  return next;
end
$$;
alter function api.events_ingest_request owner to tally_tenant;
revoke all on function api.events_ingest_request from public;
grant execute on function api.events_ingest_request to tally_service, tally_owner;
comment on function api.events_ingest_request is
  'Stores a batch with the options of POST /events/bulk: rejected events to keep, an idempotency key, a dry run. TY422 for a key that was used for another request; otherwise as api.events_ingest.';
