-- The same as the snapshot of the calling statement sees it.
create function tally.moves_seen() returns bigint
language plpgsql stable security definer
set search_path = ''
as $$
begin
  return (select coalesce(max(m.move_id), 0) from tally.event_moves as m);
end
$$;
alter function tally.moves_seen owner to tally_owner;
revoke all on function tally.moves_seen from public;
grant execute on function tally.moves_seen to tally_tenant;
comment on function tally.moves_seen is 'The number of the last move of events between partitions that the calling statement sees.';
