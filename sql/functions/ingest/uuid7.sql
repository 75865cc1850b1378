-- A UUIDv7: 48 bits of milliseconds, then random bits.
create function tally.uuid7(p_at timestamptz) returns uuid
language sql volatile strict
as $$
  select encode(
    overlay(
      set_byte(uuid_send(gen_random_uuid()), 6, get_byte(uuid_send(gen_random_uuid()), 0) & 15 | 112)
      placing substr(int8send((extract(epoch from p_at) * 1000)::bigint), 3) from 1 for 6),
    'hex')::uuid
$$;
alter function tally.uuid7 owner to tally_owner;
revoke all on function tally.uuid7 from public;
grant execute on function tally.uuid7 to tally_tenant;
comment on function tally.uuid7 is 'A new UUIDv7 for the given time.';
