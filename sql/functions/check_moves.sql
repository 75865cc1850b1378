-- Called after raw events were read: 40001 if events have moved to another partition, or one was
-- dropped, since the snapshot of the calling statement, because it may then have looked for them in
-- the wrong place.
create function tally.check_moves() returns void
language plpgsql stable
set search_path = ''
as $$
begin
  if tally.moves_seen() <> tally.moves_made() then
    raise exception using
      errcode = '40001', message = 'events have moved to another partition meanwhile',
      hint = 'Try again.';
  end if;
end
$$;
alter function tally.check_moves owner to tally_owner;
revoke all on function tally.check_moves from public;
grant execute on function tally.check_moves to tally_tenant;
comment on function tally.check_moves is
  'Raises 40001 if events have moved between partitions since the snapshot of the calling statement.';
