-- The certificate of a deletion, which is also its progress; no row for a tenant that nobody deleted.
-- marked: transactions that stored events before have not all ended; removing: rows go; done.
create function tally.tenant_deletion(p_tenant uuid)
returns table (
  tenant_id uuid, state text, event_count bigint, first_occurred_at timestamptz,
  last_occurred_at timestamptz, summary_count bigint, requested_at timestamptz,
  finished_at timestamptz, logins_left text[]
)
language plpgsql stable strict
set search_path = ''
as $$
begin
  return query
  select
    d.tenant_id,
    case
      when d.finished_at is not null then 'done'
      when d.ingest_ended_at is not null then 'removing'
      else 'marked'
    end,
    d.event_count, d.first_occurred_at, d.last_occurred_at, d.summary_count, d.requested_at,
    d.finished_at,
    array(
      select r.rolname::text
      from pg_catalog.pg_roles as r
      where starts_with(r.rolname::text, 'bi_' || replace(d.tenant_id::text, '-', '') || '_')
      order by r.rolname)
  from tally.tenant_deletions as d
  where d.tenant_id = p_tenant;
end
$$;
alter function tally.tenant_deletion owner to tally_owner;
revoke all on function tally.tenant_deletion from public;
comment on function tally.tenant_deletion is
  'The certificate of a tenant''s deletion: marked, removing or done, what was removed so far, and BI logins that are left; no row if nobody deleted it.';
