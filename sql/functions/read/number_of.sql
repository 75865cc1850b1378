-- The number of an event that is summed: its value, or a property that is a number within the bounds
-- of values, p_found being data #> tally.property_path(p_of); NULL otherwise. Inlined.
create function tally.number_of(p_of text, p_value numeric, p_found jsonb) returns numeric
language sql immutable parallel safe
as $$
  select case
    when p_of = 'value' then p_value
    when jsonb_typeof(p_found) = 'number' then case
      when abs(p_found::numeric) < 1e30 then p_found::numeric
    end
  end
$$;
alter function tally.number_of owner to tally_owner;
revoke all on function tally.number_of from public;
grant execute on function tally.number_of to tally_tenant;
comment on function tally.number_of is
  'The number that `of` names, value or data.<path>; NULL if there is none, or none that can be summed.';
