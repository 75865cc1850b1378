-- depends: 0001.initial
-- Receipts tell of conflicts: duplicates whose stored content differs from what was sent.
set local lock_timeout = '5s';
set local role tally_owner;

alter table tally.receipts add column conflicts integer;
comment on column tally.receipts.conflicts is 'Duplicates whose stored content differs from what was sent; NULL for receipts of before this was told.';

insert into tally.schema_migrations (migration_id) values ('0007.ingest');
