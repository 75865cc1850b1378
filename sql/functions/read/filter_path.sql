-- Turns filters on data, [{"key": "distance", "op": ">=", "value": "1000"}, ...], into one jsonpath,
-- all of which must hold. Values arrive as text, as they stand in a query string: 100 matches the
-- number 100 and the string "100". A dot in a key goes down a level; an array matches if one of its
-- elements does; != also matches events that lack the key. Cost: one jsonpath check a raw event.
create function tally.filter_path(p_filters jsonb) returns jsonpath
language plpgsql immutable strict
set search_path = ''
as $$
declare
  v_filter jsonb;
  v_path text;
  v_text text;
  v_literal text;
  v_values text[];
  v_clauses text[] := array[]::text[];
begin
  if jsonb_array_length(p_filters) > 20 then
    raise exception using errcode = 'TY400', message = 'more than 20 filters';
  end if;
  for v_filter in select * from jsonb_array_elements(p_filters)
  loop
    if coalesce(v_filter ->> 'key', '') = '' then
      raise exception using errcode = 'TY400', message = 'a filter names a key';
    end if;
    select '$.' || string_agg(to_json(part)::text, '.' order by i) into v_path
    from string_to_table(v_filter ->> 'key', '.') with ordinality as parts (part, i);
    v_values := case jsonb_typeof(v_filter -> 'value')
      when 'array' then array(select jsonb_array_elements_text(v_filter -> 'value'))
      else array[v_filter ->> 'value']
    end;
    if cardinality(v_values) not between 1 and 100
      or cardinality(v_values) > 1 and v_filter ->> 'op' not in ('=', '!=')
    then
      raise exception using
        errcode = 'TY400', message = 'a filter has one value, with = and != up to 100';
    end if;
    v_text := to_json(v_values[1])::text;
    v_literal := tally.json_literal(v_values[1]);
    case
      when v_filter ->> 'op' in ('=', '!=') then
        -- Not `!(...)`: comparing a number with a string is unknown, and so would be its opposite.
        v_clauses := v_clauses || format(
          case v_filter ->> 'op' when '=' then '(%s)' else '(!exists($ ? (%s)))' end,
          (
            select string_agg(
              concat_ws(' || ', v_path || ' == ' || to_json(v)::text, v_path || ' == ' || tally.json_literal(v)),
              ' || ')
            from unnest(v_values) as v
          ));
      when v_filter ->> 'op' in ('>', '>=', '<', '<=') then
        v_clauses := v_clauses || format('(%s %s %s)', v_path, v_filter ->> 'op', coalesce(v_literal, v_text));
      when v_filter ->> 'op' = '^=' then
        v_clauses := v_clauses || format('(%s starts with %s)', v_path, v_text);
      else
        raise exception using
          errcode = 'TY400', message = format('unknown operator %s', to_json(v_filter ->> 'op')),
          hint = 'Use = != > >= < <= or ^=.';
    end case;
  end loop;
  return array_to_string(v_clauses, ' && ')::jsonpath;
end
$$;
alter function tally.filter_path owner to tally_owner;
revoke all on function tally.filter_path from public;
grant execute on function tally.filter_path to tally_tenant;
comment on function tally.filter_path is
  'The jsonpath predicate for filters [{"key", "op", "value"}] on events.data; TY400 for an unknown operator.';
