-- Measures what a tenant stores, for its quotas, and lets the oldest rejected events and receipts
-- beyond them go. Events are counted by the summaries of the days whose raw events are kept and the
-- deltas, so they are never read: a row a day. Ingest compares what was measured, so a tenant may go
-- over by what it stores in a minute.
create function tally.usage_measure(p_tenant uuid) returns bigint
language plpgsql volatile strict
set search_path = ''
as $$
declare
  v_tenant tally.tenant_context := tally.tenant_lock(p_tenant);
  v_quotas jsonb;
  v_usage jsonb;
  v_rejected bigint;
  v_receipts bigint;
begin
  select t.quotas into v_quotas from tally.tenants as t where t.tenant_id = p_tenant;
  delete from tally.rejected_events as r
  using (
    select
      e.rejected_id, row_number() over newest as position,
      sum(octet_length(e.event)) over newest as bytes
    from tally.rejected_events as e
    where e.tenant_id = p_tenant
    window newest as (order by e.rejected_id desc)
  ) as o
  where r.tenant_id = p_tenant
    and r.rejected_id = o.rejected_id
    and (o.position > (v_quotas ->> 'rejected')::bigint
      or o.bytes > (v_quotas ->> 'rejectedBytes')::bigint);
  get diagnostics v_rejected = row_count;
  delete from tally.receipts as r
  using (
    select
      e.idempotency_key,
      row_number() over (order by e.created_at desc, e.idempotency_key) as position
    from tally.receipts as e
    where e.tenant_id = p_tenant
  ) as o
  where r.tenant_id = p_tenant
    and r.idempotency_key = o.idempotency_key
    and o.position > (v_quotas ->> 'receipts')::bigint;
  get diagnostics v_receipts = row_count;
  select
    jsonb_build_object(
      'events', coalesce((
        select sum(s.event_count)
        from tally.summaries as s
        where s.tenant_id = p_tenant
          and s.period_type = 'd'
          and s.kind = 'a'
          and s.period_start >= v_tenant.events_kept_from
      ), 0) + coalesce((
        select sum(d.event_count)
        from tally.summary_deltas as d
        where d.tenant_id = p_tenant and d.quarter_hour >= v_tenant.events_kept_from
      ), 0),
      'rejected', count(*),
      'rejectedBytes', coalesce(sum(octet_length(e.event)), 0),
      'receipts', (select count(*) from tally.receipts as r where r.tenant_id = p_tenant))
  into v_usage
  from tally.rejected_events as e
  where e.tenant_id = p_tenant;
  update tally.tenant_state as s
  set usage = v_usage
  where s.tenant_id = p_tenant and s.usage <> v_usage;
  return v_rejected + v_receipts;
end
$$;
alter function tally.usage_measure owner to tally_owner;
revoke all on function tally.usage_measure from public;
comment on function tally.usage_measure is
  'Measures what a tenant stores, and removes its oldest rejected events and receipts beyond its quotas; returns how many.';
