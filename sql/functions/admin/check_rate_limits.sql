create function tally.check_rate_limits(p_limits jsonb) returns void
language plpgsql immutable
set search_path = ''
as $$
begin
  if tally.is_rate_limits(p_limits) is not true then
    raise exception using
      errcode = 'TY400', column = 'p_rate_limits_per_minute',
      message = 'rate limits are {"class": number a minute}',
      hint = format(
        'Classes are %s; numbers are whole, 0 to 1,000,000,000,000.', array_to_string(tally.rate_classes(), ', '));
  end if;
end
$$;
alter function tally.check_rate_limits owner to tally_owner;
revoke all on function tally.check_rate_limits from public;
comment on function tally.check_rate_limits is 'Raises TY400 unless these are rate limits (tally.is_rate_limits).';
