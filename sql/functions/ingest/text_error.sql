-- Fields of an event that are texts: type, actorId, sessionId, id and occurredAt.
create function tally.text_error(p_event json, p_field text, p_text text) returns text
language plpgsql stable strict
set search_path = ''
as $$
begin
  return case
    when p_field = 'id' then
      case
        when not tally.is_uuid(p_text) then 'expected a UUID'
        when p_event ->> 'occurredAt' is null
          and coalesce(tally.uuid7_time(p_text::uuid), 'infinity') >= '2200-01-01 00:00:00+00'
          then 'without occurredAt the id must be a UUIDv7, from which the time is taken'
      end
    when p_field = 'occurredAt' then
      case
        when tally.parse_instant(p_text) is null
          then 'expected an RFC 3339 time with an offset, such as 2026-01-31T12:00:00Z'
        -- Far from what is stored, and perhaps from what the service can send.
        when left(p_text, 4) not between '1900' and '2199' then 'lies before 1980 or in the future'
      end
    when length(p_text) not between 1 and 200 then 'must have 1 to 200 characters'
  end;
end
$$;
alter function tally.text_error owner to tally_owner;
revoke all on function tally.text_error from public;
grant execute on function tally.text_error to tally_tenant;
comment on function tally.text_error is 'What is wrong with a text field of an event; NULL if nothing is.';
