-- The time inside a UUIDv7; NULL for any other UUID.
create function tally.uuid7_time(p_id uuid) returns timestamptz
language sql immutable strict
as $$
  select case
    when get_byte(uuid_send(p_id), 6) >> 4 = 7 then
      timestamptz 'epoch'
      + ('x' || left(replace(p_id::text, '-', ''), 12))::bit(48)::bigint * interval '1 millisecond'
  end
$$;
alter function tally.uuid7_time owner to tally_owner;
revoke all on function tally.uuid7_time from public;
grant execute on function tally.uuid7_time to tally_tenant;
comment on function tally.uuid7_time is 'The time of a UUIDv7, to the millisecond; NULL for other versions.';
