-- How often have events moved out of the default partition, as of now? Volatile, so that it looks
-- with a snapshot of its own, unlike tally.moves_seen.
create function tally.moves_made() returns bigint
language plpgsql volatile security definer
set search_path = ''
as $$
begin
  return (select coalesce(max(m.move_id), 0) from tally.event_moves as m);
end
$$;
alter function tally.moves_made owner to tally_owner;
revoke all on function tally.moves_made from public;
grant execute on function tally.moves_made to tally_tenant;
comment on function tally.moves_made is 'The number of the last move of events between partitions, as of now.';
