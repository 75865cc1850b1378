-- Refuses a request whose elements are wrong: TY400 with every error, as JSON, in the detail. The
-- service passes these on as they are.
create function tally.raise_invalid(p_errors jsonb) returns void
language plpgsql stable strict
set search_path = ''
as $$
begin
  if jsonb_array_length(p_errors) > 0 then
    raise exception using
      errcode = 'TY400',
      message = format('%s of the events cannot be stored',
        (select count(distinct e -> 'index') from jsonb_array_elements(p_errors) as e)),
      detail = p_errors::text,
      hint = 'Nothing was stored. The detail lists each error with the index of its event.';
  end if;
end
$$;
alter function tally.raise_invalid owner to tally_owner;
revoke all on function tally.raise_invalid from public;
grant execute on function tally.raise_invalid to tally_tenant;
comment on function tally.raise_invalid is 'Raises TY400 with the errors [{"index", "pointer", "detail"}] unless there are none.';
