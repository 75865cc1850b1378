-- A text as part of a key: one of more than 200 characters is cut, and told apart by its md5. Inlined.
create function tally.short_text(p_text text) returns text
language sql immutable parallel safe
as $$
  select case when length(p_text) <= 200 then p_text else left(p_text, 150) || '...' || md5(p_text) end
$$;
alter function tally.short_text owner to tally_owner;
revoke all on function tally.short_text from public;
grant execute on function tally.short_text to tally_tenant;
comment on function tally.short_text is
  'The text itself up to 200 characters; the first 150 and the md5 of all of it beyond.';
