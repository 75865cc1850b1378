-- depends: 0002.keys
-- Tenants can be deleted: the mark, and the certificate that stays.
set local lock_timeout = '5s';
set local statement_timeout = '10min';
set local role tally_owner;

alter table tally.tenants add column deleted_at timestamptz;
comment on column tally.tenants.deleted_at is 'When its deletion was asked for: from then on nobody reads or stores anything of it. The row itself goes last.';

create table tally.tenant_deletions (
  tenant_id uuid primary key,
  requested_at timestamptz not null default clock_timestamp(),
  requested_in xid8 not null default pg_current_xact_id(),
  login text not null default session_user,
  key_id uuid,
  ingest_ended_at timestamptz,
  events_removed_to timestamptz not null default '-infinity',
  finished_at timestamptz,
  event_count bigint not null default 0,
  first_occurred_at timestamptz,
  last_occurred_at timestamptz,
  summary_count bigint not null default 0
);
comment on table tally.tenant_deletions is
  'Certificates: what was removed when a tenant was deleted, without its name. Also the progress of deletions under way.';
comment on column tally.tenant_deletions.requested_in is 'The transaction that marked the tenant: removal begins in another one.';
comment on column tally.tenant_deletions.login is 'The database login that asked: tally_service for a request over HTTP.';
comment on column tally.tenant_deletions.key_id is 'For a request over HTTP, the API key that asked.';
comment on column tally.tenant_deletions.ingest_ended_at is 'From here on no transaction was left that had begun to store events before the tenant was marked.';
comment on column tally.tenant_deletions.events_removed_to is 'Events before this moment are gone.';
comment on column tally.tenant_deletions.finished_at is 'NULL while anything is left.';
comment on column tally.tenant_deletions.event_count is 'Raw events that were removed; those that retention or an erasure had removed before are not among them.';
comment on column tally.tenant_deletions.summary_count is 'Rows of tally.summaries that were removed.';

alter table tally.tenant_deletions enable row level security;
create policy own_tenant on tally.tenant_deletions
  using (tenant_id = tally.current_tenant())
  with check (tenant_id = tally.current_tenant());
grant select on tally.tenant_deletions to tally_tenant;

insert into tally.schema_migrations (migration_id) values ('0003.tenant_deletion');
