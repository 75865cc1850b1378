-- The text by which a property's value names a group, so that the filter `data.k=<text>` finds the
-- same events: the number 100 and the string "100" are one group, so are 1 and 1.0; a JSON null is
-- "null". NULL where the property is absent. Inlined; tally.short_text would not be, and asked of each
-- text it costs 1 us.
create function tally.group_text(p_value jsonb) returns text
language sql immutable parallel safe
as $$
  select case jsonb_typeof(p_value)
    when 'string' then case
      when length(p_value #>> '{}') <= 200 then p_value #>> '{}'
      else tally.short_text(p_value #>> '{}')
    end
    when 'number' then tally.short_text(trim_scale(p_value::numeric)::text)
    when 'null' then 'null'
    else tally.short_text(p_value #>> '{}')
  end
$$;
alter function tally.group_text owner to tally_owner;
revoke all on function tally.group_text from public;
grant execute on function tally.group_text to tally_tenant;
comment on function tally.group_text is
  'The text by which a property''s value names its group; NULL where the property is absent.';
