-- How often have events moved out of the default partition, as of now? Volatile, so that it looks
-- with a snapshot of its own, unlike tally.partition_version_seen. A repeatable-read transaction has but one
-- snapshot: there it looks at the sequence, which belongs to none.
create function tally.partition_version() returns bigint
language plpgsql volatile security definer
set search_path = ''
as $$
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    return (select case when s.is_called then s.last_value else 0 end from tally.partition_changes_change_id_seq as s);
  end if;
  return (select coalesce(max(m.change_id), 0) from tally.partition_changes as m);
end
$$;
alter function tally.partition_version owner to tally_owner;
revoke all on function tally.partition_version from public;
grant execute on function tally.partition_version to tally_tenant;
comment on function tally.partition_version is 'The number of the last move of events between partitions, as of now.';
