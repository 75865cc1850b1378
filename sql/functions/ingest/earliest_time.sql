-- Without a setting of its own, so that it is inlined: else it was a tenth of a lone event.
create function tally.earliest_time(p_tenant tally.tenant_context) returns timestamptz
language sql stable
as $$
  select greatest(
    timestamptz '1980-01-01 00:00:00+00', p_tenant.events_kept_from, now() - p_tenant.event_retention)
$$;
alter function tally.earliest_time owner to tally_owner;
revoke all on function tally.earliest_time from public;
grant execute on function tally.earliest_time to tally_tenant;
comment on function tally.earliest_time is 'Events of this tenant before this moment are refused: 1980, or its retention.';
