-- Distinct actors of a range of local days, exactly as the API answers: a number that cannot be added
-- up from those of days or types. Half-open: from the beginning of p_from until the beginning of p_to.
-- Runs with the rights of the BI login, so row security and the name of the login decide whose they
-- are; a function with rights of others would trust the types in its caller's temporary schema.
-- Cost: that of api.event_count, a row a month, day or quarter hour.
create function bi.unique_actors(
  p_from date default '-infinity', p_to date default 'infinity', p_types text[] default '{}'
)
returns bigint
language plpgsql stable strict
set search_path = ''
as $$
declare
  v_tenant tally.tenant_context := tally.tenant_read(tally.current_tenant());
  v_from timestamptz := p_from;
  v_to timestamptz := p_to;
begin
  if v_tenant.tenant_id is null then
    raise exception using
      errcode = 'TY404', message = 'this login belongs to no tenant',
      hint = 'Ask with a BI login, or api.event_count(tenant, p_measure => ''uniqueActors'').';
  end if;
  -- No event is older, and earlier midnights do not lie on quarter hours.
  if isfinite(p_from) then
    v_from := greatest(tally.day_start(p_from, v_tenant.time_zone), '1980-01-01 00:00:00+00');
  end if;
  if isfinite(p_to) then
    v_to := greatest(tally.day_start(p_to, v_tenant.time_zone), '1980-01-01 00:00:00+00');
  end if;
  return (
    select r.total
    from tally.range_total(v_tenant, v_from, v_to, p_types, 'uniqueActors', '[]', '') as r);
end
$$;
alter function bi.unique_actors owner to tally_owner;
revoke all on function bi.unique_actors from public;
grant execute on function bi.unique_actors to tally_bi;
comment on function bi.unique_actors is
  'Distinct actors of the login''s tenant in a half-open range of local days, of all event types or those given. TY400 for bad arguments.';
