-- Up to where have a tenant's days, weeks or months been finalized?
create function tally.finalized_to(p_tenant tally.tenant_context, p_period_type text)
returns timestamptz
language sql immutable
as $$
  select case p_period_type
    when 'day' then p_tenant.days_finalized_to
    when 'week' then p_tenant.weeks_finalized_to
    when 'month' then p_tenant.months_finalized_to
    else '-infinity'
  end
$$;
alter function tally.finalized_to owner to tally_owner;
revoke all on function tally.finalized_to from public;
grant execute on function tally.finalized_to to tally_tenant;
comment on function tally.finalized_to is
  'The end of the last period of a type that has been finalized; -infinity if none has.';
