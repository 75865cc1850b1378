-- Days of retention as they are asked for: NULL or 0 keeps for ever.
create function tally.retention_interval(p_days integer, p_argument text) returns interval
language plpgsql immutable
set search_path = ''
as $$
begin
  if p_days not between 0 and 36500 then
    raise exception using
      errcode = 'TY400', column = p_argument, message = 'retention is 1 to 36,500 days, or none';
  end if;
  return make_interval(days => nullif(p_days, 0));
end
$$;
alter function tally.retention_interval owner to tally_owner;
revoke all on function tally.retention_interval from public;
comment on function tally.retention_interval is
  'The interval of a retention in days; NULL, which keeps for ever, for NULL or 0. TY400, naming the argument, otherwise.';
