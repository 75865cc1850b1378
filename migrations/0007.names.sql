-- depends: 0006.meters
-- Names of tenants are labels: two may have the same one.
set local lock_timeout = '5s';
set local statement_timeout = '10min';
set local role tally_owner;

-- The guarantee that is meant to go.
-- squawk-ignore ban-drop-constraint
alter table tally.tenants drop constraint tenants_name_key;
comment on column tally.tenants.name is 'A label for people; several tenants may have the same. The id tells them apart.';

insert into tally.schema_migrations (migration_id) values ('0007.names');
