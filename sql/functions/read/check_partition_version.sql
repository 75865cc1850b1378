-- Called after raw events were read: 40001 if events have moved to another partition, or one was
-- dropped, since the snapshot of the calling statement, because it may then have looked for them in
-- the wrong place.
create function tally.check_partition_version() returns void
language plpgsql stable
set search_path = ''
as $$
begin
  if tally.partition_version_seen() <> tally.partition_version() then
    raise exception using
      errcode = '40001', message = 'events have moved to another partition meanwhile',
      hint = 'Try again.';
  end if;
end
$$;
alter function tally.check_partition_version owner to tally_owner;
revoke all on function tally.check_partition_version from public;
grant execute on function tally.check_partition_version to tally_tenant;
comment on function tally.check_partition_version is
  'Raises 40001 if events have moved between partitions since the snapshot of the calling statement.';
