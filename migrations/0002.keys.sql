-- depends: 0001.initial

-- Limits of a key's own follow it through rotations: its successors, and the keys that it makes,
-- count in the same buckets.
set local lock_timeout = '5s';
set local statement_timeout = '1min';
set local role tally_owner;

alter table tally.api_keys add column lineage_id uuid;
comment on column tally.api_keys.lineage_id is
  'The first of the keys that share the buckets of their own limits: successors, and keys made by a key with limits. NULL for that first key itself.';
comment on column tally.api_keys.rate_limits_per_minute is
  'Overrides, for example {"ingest": 5000}: requests a minute by class (ingest, bulk, analytics, summaries, tenants), counted for this key and its lineage; 0 refuses all.';
comment on column tally.audit_log.key_id is 'For a request over HTTP, the API key that asked, as tally_service says; always a key of the tenant or of the installation.';

insert into tally.schema_migrations (migration_id) values ('0002.keys');
