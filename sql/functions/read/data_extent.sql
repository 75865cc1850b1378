-- The part of a range in which a tenant has anything, raw events or summaries; NULL if it has
-- nothing there. What verify and rebuild walk through.
create function tally.data_extent(
  p_tenant tally.tenant_context, p_from timestamptz, p_to timestamptz,
  out first_at timestamptz, out last_at timestamptz
)
language plpgsql stable strict
set search_path = ''
as $$
begin
  select
    greatest(p_from, least(s.first_at, min(e.occurred_at))),
    least(p_to, greatest(
      tally.period_end(s.last_at, 'day', p_tenant.time_zone, p_tenant.week_start),
      max(e.occurred_at) + interval '1 microsecond'))
  into first_at, last_at
  from tally.summary_extent(p_tenant, 'day') as s
  left join tally.events as e on e.tenant_id = p_tenant.tenant_id
  group by s.first_at, s.last_at
  having s.first_at is not null or min(e.occurred_at) is not null;
end
$$;
alter function tally.data_extent owner to tally_owner;
revoke all on function tally.data_extent from public;
comment on function tally.data_extent is
  'The part of a range in which the tenant has raw events or summaries; NULL if there is none.';
