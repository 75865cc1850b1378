-- The same as the snapshot of the calling statement sees it.
create function tally.partition_version_seen() returns bigint
language plpgsql stable security definer
set search_path = ''
as $$
begin
  return (select coalesce(max(m.change_id), 0) from tally.partition_changes as m);
end
$$;
alter function tally.partition_version_seen owner to tally_owner;
revoke all on function tally.partition_version_seen from public;
grant execute on function tally.partition_version_seen to tally_tenant;
comment on function tally.partition_version_seen is 'The number of the last move of events between partitions that the calling statement sees.';
