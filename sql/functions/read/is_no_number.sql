-- Is there something where a number is asked for that is none? Inlined.
create function tally.is_no_number(p_of text, p_found jsonb) returns boolean
language sql immutable parallel safe
as $$
  select p_of <> 'value'
    and jsonb_typeof(p_found) <> 'null'
    and tally.number_of(p_of, null, p_found) is null
$$;
alter function tally.is_no_number owner to tally_owner;
revoke all on function tally.is_no_number from public;
grant execute on function tally.is_no_number to tally_tenant;
comment on function tally.is_no_number is
  'Has the event a property where `of` asks for a number, but not one that can be summed? It is counted as a value error.';
