create function tally.check_dimension(p_name text, p_columns text[], p_argument text) returns void
language plpgsql immutable strict
set search_path = ''
as $$
begin
  if p_name <> all (p_columns)
    and (p_name !~ '^data\.[^.]+(\.[^.]+)*$' or length(p_name) > 200)
  then
    raise exception using
      errcode = 'TY400', column = p_argument,
      message = format('unknown property %s', to_json(left(p_name, 64))),
      hint = format('Use %s or data.<key>; a dot goes down a level.', array_to_string(p_columns, ', '));
  end if;
end
$$;
alter function tally.check_dimension owner to tally_owner;
revoke all on function tally.check_dimension from public;
grant execute on function tally.check_dimension to tally_tenant;
comment on function tally.check_dimension is
  'TY400, naming the argument, unless the name is one of the columns or data.<path>.';
