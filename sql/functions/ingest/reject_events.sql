-- Keeps events that were left out: [{"source", "event", "errors", "replayable"}]. One that is kept
-- already, or comes twice, stays one. Of what is longer than any event may be, the beginning is kept.
create function tally.reject_events(p_tenant uuid, p_rejected jsonb) returns void
language sql volatile strict
set search_path = ''
as $$
  insert into tally.rejected_events (tenant_id, event_hash, source, errors, event, replayable)
  select
    p_tenant, r.event_hash, r.source, r.errors,
    case when octet_length(r.event) > 1200000 then left(r.event, 10000) else r.event end,
    r.replayable and octet_length(r.event) <= 1200000
  from (
    select distinct on (h.event_hash) *
    from rows from (
      jsonb_to_recordset(p_rejected) as (source text, event text, errors jsonb, replayable boolean)
    ) with ordinality as e (source, event, errors, replayable, i)
    cross join lateral sha256(convert_to(e.event, 'UTF8')) as h (event_hash)
    order by h.event_hash, e.i
  ) as r
  order by r.i
  on conflict (tenant_id, event_hash) do update
  set rejected_at = excluded.rejected_at, errors = excluded.errors
$$;
alter function tally.reject_events owner to tally_owner;
revoke all on function tally.reject_events from public;
grant execute on function tally.reject_events to tally_tenant;
comment on function tally.reject_events is 'Keeps events that could not be stored, with their errors.';
