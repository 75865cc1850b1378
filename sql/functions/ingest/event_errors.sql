-- What is wrong with one event given as JSON: a row for each error, none if it is good.
create function tally.event_errors(p_event jsonb, p_index bigint) returns setof jsonb
language plpgsql stable strict
set search_path = ''
as $$
declare
  v_field record;
  v_problem text;
  v_pointer text;
begin
  if jsonb_typeof(p_event) <> 'object' then
    return next jsonb_build_object('index', p_index, 'pointer', '', 'detail', 'expected an object');
    return;
  end if;
  for v_field in
    select key, value, value #>> '{}' as text, jsonb_typeof(value) as type from jsonb_each(p_event)
    union all
    select 'type', null, null, null where not p_event ? 'type'
  loop
    v_problem := case
      when v_field.value is null then 'required'
      when v_field.key not in ('type', 'occurredAt', 'id', 'actorId', 'sessionId', 'value', 'data')
        then 'unknown field; known are type, occurredAt, id, actorId, sessionId, value and data'
      when v_field.type = 'null' and v_field.key <> 'type' then null
      when v_field.key = 'value' then
        case
          when v_field.type <> 'number' then 'expected a number'
          when abs(v_field.text::numeric) >= 1e30 then 'must be between -1e30 and 1e30'
        end
      when v_field.key = 'data' then
        case
          when v_field.type <> 'object' then 'expected an object'
          when octet_length(v_field.text) > 65536 then 'longer than 65,536 bytes'
          when v_field.value @? 'strict $.**{32} ? (@.type() == "object" || @.type() == "array")'
            then 'deeper than 32 levels'
        end
      when v_field.type <> 'string' then 'expected a string'
      when v_field.key = 'id' then
        case
          when not tally.is_uuid(v_field.text) then 'expected a UUID'
          when coalesce(p_event ->> 'occurredAt', '') = ''
            and tally.uuid7_time(v_field.text::uuid) is null
            then 'without occurredAt the id must be a UUIDv7, from which the time is taken'
        end
      when v_field.key = 'occurredAt' then
        case when tally.parse_instant(v_field.text) is null
          then 'expected an RFC 3339 time with an offset, such as 2026-01-31T12:00:00Z' end
      when length(v_field.text) not between 1 and 200 then 'must have 1 to 200 characters'
    end;
    if v_problem is not null then
      v_pointer := '/' || replace(replace(v_field.key, '~', '~0'), '/', '~1');
      return next jsonb_build_object('index', p_index, 'pointer', v_pointer, 'detail', v_problem);
    end if;
  end loop;
end
$$;
alter function tally.event_errors owner to tally_owner;
revoke all on function tally.event_errors from public;
grant execute on function tally.event_errors to tally_tenant;
comment on function tally.event_errors is 'The errors {"index", "pointer", "detail"} of one event given as JSON.';
