-- The text by which a property's value names a group, so that the filter `data.k=<text>` finds the
-- same events: the number 100 and the string "100" are one group, so are 1 and 1.0; a JSON null is
-- "null". NULL where the property is absent. Inlined.
create function tally.group_text(p_value jsonb) returns text
language sql immutable parallel safe
as $$
  select tally.short_text(case jsonb_typeof(p_value)
    when 'number' then trim_scale(p_value::numeric)::text
    when 'null' then 'null'
    else p_value #>> '{}'
  end)
$$;
alter function tally.group_text owner to tally_owner;
revoke all on function tally.group_text from public;
grant execute on function tally.group_text to tally_tenant;
comment on function tally.group_text is
  'The text by which a property''s value names its group; NULL where the property is absent.';
