-- Is the text a UUID, with hyphens in their places or without?
create function tally.is_uuid(p_text text) returns boolean
language sql immutable strict parallel safe
as $$
  select p_text ~* '^[0-9a-f]{8}(-?)[0-9a-f]{4}\1[0-9a-f]{4}\1[0-9a-f]{4}\1[0-9a-f]{12}$'
$$;
alter function tally.is_uuid owner to tally_owner;
revoke all on function tally.is_uuid from public;
grant execute on function tally.is_uuid to tally_tenant;
comment on function tally.is_uuid is 'Whether a text is a UUID.';
