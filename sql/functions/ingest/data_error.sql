-- The data of an event as it stands in the JSON: what jsonb could not store, or what is out of bounds.
-- Brackets and numbers are looked for where no string is (301 characters in two pieces, since 255 is
-- the most that a regular expression can count).
create function tally.data_error(p_raw text, p_max_bytes integer default 65536) returns text
language plpgsql immutable strict parallel safe
set search_path = ''
as $$
declare
  v_bare text;
begin
  if left(p_raw, 1) <> '{' then
    return 'expected an object';
  elsif octet_length(p_raw) > p_max_bytes then
    return format('longer than %s bytes', to_char(p_max_bytes, 'FM9,999,999'));
  elsif p_raw ~ '(?<!\\)(\\\\)*\\u0000' then
    return 'holds a NUL character, which cannot be stored';
  end if;
  v_bare := regexp_replace(p_raw, '"(?:[^"\\]|\\.)*"', '', 'g');
  if v_bare ~ '[-+.eE0-9]{255}[-+.eE0-9]{46}'
    or v_bare ~ '[0-9][eE][+-]?0*([0-9]{4,}|[4-9][0-9]{2}|3(0[1-9]|[1-9][0-9]))'
  then
    return 'holds a number of more than 300 characters, or with an exponent beyond 300';
  end if;
  v_bare := regexp_replace(v_bare, '[^][{}]', '', 'g');
  for i in 1 .. 32
  loop
    exit when v_bare = '';
    v_bare := regexp_replace(v_bare, '\[\]|\{\}', '', 'g');
  end loop;
  if v_bare <> '' then
    return 'deeper than 32 levels';
  end if;
  perform p_raw::jsonb;
  return null;
end
$$;
alter function tally.data_error owner to tally_owner;
revoke all on function tally.data_error from public;
grant execute on function tally.data_error to tally_tenant;
comment on function tally.data_error is 'What is wrong with the data of an event, given as JSON text; NULL if nothing is. Raises what a cast to jsonb raises.';
