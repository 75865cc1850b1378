create function tally.check_limit(p_limit integer) returns void
language plpgsql immutable
set search_path = ''
as $$
begin
  if p_limit between 1 and 10000 is not true then
    raise exception using errcode = 'TY400', column = 'p_limit', message = 'limit is 1 to 10,000';
  end if;
end
$$;
alter function tally.check_limit owner to tally_owner;
revoke all on function tally.check_limit from public;
grant execute on function tally.check_limit to tally_tenant;
comment on function tally.check_limit is 'Raises TY400 unless a page may have that many rows.';
