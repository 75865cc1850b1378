-- Keeps events that were left out: [{"source", "event", "errors", "replayable"}]. One that is kept
-- already stays one.
create function tally.reject_events(p_tenant uuid, p_rejected jsonb) returns void
language sql volatile strict
set search_path = ''
as $$
  insert into tally.rejected_events (tenant_id, event_hash, source, errors, event, replayable)
  select
    p_tenant, sha256(convert_to(r.event, 'UTF8')), r.source, r.errors, r.event, r.replayable
  from jsonb_to_recordset(p_rejected) as r (
    source text, event text, errors jsonb, replayable boolean)
  on conflict (tenant_id, event_hash) do update
  set rejected_at = excluded.rejected_at, errors = excluded.errors
$$;
alter function tally.reject_events owner to tally_owner;
revoke all on function tally.reject_events from public;
grant execute on function tally.reject_events to tally_tenant;
comment on function tally.reject_events is 'Keeps events that could not be stored, with their errors.';
