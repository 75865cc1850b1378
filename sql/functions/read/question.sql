-- A question about events, checked and brought into one form: types and filters in order, so that equal
-- questions are equal, and meters are found.
create function tally.question(
  p_types text[], p_filters jsonb, p_actor text, p_by text[], p_of text, p_unique text,
  p_measure text
)
returns tally.question
language plpgsql immutable strict
set search_path = ''
as $$
declare
  v_name text;
begin
  if cardinality(p_by) > 3 then
    raise exception using errcode = 'TY400', column = 'p_by', message = 'more than 3 dimensions';
  end if;
  foreach v_name in array p_by
  loop
    perform tally.check_dimension(v_name, array['type', 'actorId', 'sessionId'], 'p_by');
  end loop;
  if (select count(distinct name) from unnest(p_by) as name) < cardinality(p_by) then
    raise exception using errcode = 'TY400', column = 'p_by', message = 'a dimension is given twice';
  end if;
  perform tally.check_dimension(p_of, array['value'], 'p_of');
  perform tally.check_dimension(p_unique, array['actorId', 'sessionId'], 'p_unique');
  if p_measure <> all (tally.property_measures()) then
    raise exception using
      errcode = 'TY400', column = 'p_measure',
      message = format('unknown measure %s', to_json(left(p_measure, 64))),
      hint = format('Use one of %s.', array_to_string(tally.property_measures(), ', '));
  end if;
  return row(
    array(select distinct t from unnest(p_types) as t order by t),
    -- A list of one value is that value.
    coalesce((
      select jsonb_agg(n.f order by n.f)
      from jsonb_array_elements(p_filters) as g (f)
      cross join lateral (
        select case
          when jsonb_typeof(g.f -> 'value') = 'array' and jsonb_array_length(g.f -> 'value') = 1
            then jsonb_set(g.f, '{value}', g.f -> 'value' -> 0)
          else g.f
        end as f
      ) as n
    ), '[]'),
    p_actor, array(select b from unnest(p_by) as b order by b), p_of, p_unique,
    case when p_measure = 'unique' and p_unique = 'actorId' then 'uniqueActors' else p_measure end
  )::tally.question;
end
$$;
alter function tally.question(text[], jsonb, text, text[], text, text, text) owner to tally_owner;
revoke all on function tally.question(text[], jsonb, text, text[], text, text, text) from public;
grant execute on function tally.question(text[], jsonb, text, text[], text, text, text) to tally_tenant;
comment on function tally.question(text[], jsonb, text, text[], text, text, text) is
  'A question about events, in one form; TY400 for an unknown dimension, number or measure.';
