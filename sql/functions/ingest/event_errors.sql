-- What is wrong with one event given as JSON: a row for each error, none if it is good. The same rules
-- as in the service's ingest/events.py, which a test holds: it sends the same events through both.
create function tally.event_errors(
  p_event json, p_index bigint, p_max_data_bytes integer default 65536
)
returns setof jsonb
language plpgsql stable strict
set search_path = ''
as $$
declare
  v_field record;
  v_problem text;
  v_pointer text;
begin
  if json_typeof(p_event) <> 'object' then
    return next jsonb_build_object('index', p_index, 'pointer', '', 'detail', 'expected an object');
    return;
  end if;
  for v_field in
    select f.key, f.value::text as raw, json_typeof(f.value) as type from json_each(p_event) as f
    union all
    select 'type', null, null where p_event -> 'type' is null
  loop
    v_problem := case
      when v_field.raw is null then 'required'
      when v_field.key not in ('type', 'occurredAt', 'id', 'actorId', 'sessionId', 'value', 'data')
        then 'unknown field; known are type, occurredAt, id, actorId, sessionId, value and data'
      when v_field.type = 'null' and v_field.key <> 'type' then null
      when v_field.key = 'value' then tally.value_error(v_field.raw)
      when v_field.key = 'data' then tally.data_error(v_field.raw, p_max_data_bytes)
      when v_field.type <> 'string' then 'expected a string'
      when v_field.raw ~ '(?<!\\)(\\\\)*\\u0000' then 'holds a NUL character, which cannot be stored'
      else tally.text_error(p_event, v_field.key, v_field.raw::json #>> '{}')
    end;
    if v_problem is not null then
      v_pointer := '/' || replace(replace(v_field.key, '~', '~0'), '/', '~1');
      return next jsonb_build_object('index', p_index, 'pointer', v_pointer, 'detail', v_problem);
    end if;
  end loop;
exception when data_exception or program_limit_exceeded or statement_too_complex then
  return next jsonb_build_object(
    'index', p_index, 'pointer', '', 'detail', 'is not JSON that can be stored');
end
$$;
alter function tally.event_errors owner to tally_owner;
revoke all on function tally.event_errors from public;
grant execute on function tally.event_errors to tally_tenant;
comment on function tally.event_errors is 'The errors {"index", "pointer", "detail"} of one event given as JSON.';
