-- Is the text an RFC 3339 time with an offset that exists?
create function tally.is_instant(p_text text) returns boolean
language plpgsql stable strict
set search_path = ''
as $$
begin
  if p_text !~ '^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)$' then
    return false;
  end if;
  perform p_text::timestamptz;
  return true;
exception when data_exception then
  return false;
end
$$;
alter function tally.is_instant owner to tally_owner;
revoke all on function tally.is_instant from public;
grant execute on function tally.is_instant to tally_tenant;
comment on function tally.is_instant is 'Whether a text is an RFC 3339 time with an offset.';
