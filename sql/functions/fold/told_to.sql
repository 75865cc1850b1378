-- Before which beginning may a day, week or month have been told as final nothing? Where finalize has
-- passed, in this calendar or in an earlier one. What is stored there later is a correction.
create function tally.told_to(p_tenant tally.tenant_context, p_period_type text)
returns timestamptz
language plpgsql immutable
set search_path = ''
as $$
begin
  if p_period_type = 'quarter_hour' then
    return timestamptz '-infinity';
  end if;
  return greatest(tally.finalized_to(p_tenant, p_period_type), tally.period_start(
    p_tenant.told_to, p_period_type, p_tenant.time_zone, p_tenant.week_start));
end
$$;
alter function tally.told_to owner to tally_owner;
revoke all on function tally.told_to from public;
comment on function tally.told_to is
  'Periods of the type that began before this moment may have been final without a row, in this calendar or an earlier one.';
