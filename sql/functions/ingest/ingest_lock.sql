create function tally.ingest_lock(p_tenant uuid) returns bigint
language sql immutable strict parallel safe
as $$ select pg_catalog.uuid_hash_extended(p_tenant, 7463298) $$;
alter function tally.ingest_lock owner to tally_owner;
revoke all on function tally.ingest_lock from public;
grant execute on function tally.ingest_lock to tally_tenant;
comment on function tally.ingest_lock is
  'The advisory lock that transactions which store something for a tenant share, so that its deletion can tell when the last of them has ended.';
