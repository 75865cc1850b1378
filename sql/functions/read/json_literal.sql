create function tally.json_literal(p_text text) returns text
language sql immutable strict parallel safe
as $$
  select case
    when p_text ~ '^-?(0|[1-9][0-9]{0,100})(\.[0-9]{1,100})?$' or p_text in ('true', 'false', 'null')
      then p_text
  end
$$;
alter function tally.json_literal owner to tally_owner;
revoke all on function tally.json_literal from public;
grant execute on function tally.json_literal to tally_tenant;
comment on function tally.json_literal is
  'The text, if it is also a JSON number, true, false or null; NULL otherwise.';
