-- The value of an event as it stands in the JSON: a number of at most 100 characters.
create function tally.value_error(p_raw text) returns text
language plpgsql immutable strict parallel safe
set search_path = ''
as $$
begin
  if p_raw !~ '^-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?$' then
    return 'expected a number';
  elsif length(p_raw) > 100
    or p_raw ~ '[eE][+-]?0*([0-9]{4,}|[2-9][0-9]{2}|1(0[1-9]|[1-9][0-9]))$'
    or abs(p_raw::numeric) >= 1e30
  then
    return 'must be between -1e30 and 1e30 and have at most 100 characters, exponents from -100 to 100';
  end if;
  return null;
end
$$;
alter function tally.value_error owner to tally_owner;
revoke all on function tally.value_error from public;
grant execute on function tally.value_error to tally_tenant;
comment on function tally.value_error is 'What is wrong with the value of an event, given as JSON text; NULL if nothing is.';
