-- Reads a date of the form 2026-01-31.
create function tally.parse_date(p_text text) returns date
language plpgsql immutable strict parallel safe
set search_path = ''
as $$
declare
  v_year integer;
  v_month integer;
  v_day integer;
begin
  if p_text !~ '^\d{4}-(0[1-9]|1[0-2])-\d\d$' then
    return null;
  end if;
  v_year := left(p_text, 4)::integer;
  v_month := substr(p_text, 6, 2)::integer;
  v_day := right(p_text, 2)::integer;
  if v_year = 0
    or v_day not between 1 and extract(day from make_date(v_year, v_month, 1) + interval '1 month - 1 day')
  then
    return null;
  end if;
  return make_date(v_year, v_month, v_day);
end
$$;
alter function tally.parse_date owner to tally_owner;
revoke all on function tally.parse_date from public;
grant execute on function tally.parse_date to tally_tenant;
comment on function tally.parse_date is 'The date of a text such as 2026-01-31; NULL if it is none.';
