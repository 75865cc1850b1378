-- Verifies the last days of a tenant, at every period type, and rebuilds those that differ.
create function tally.heal_tenant(p_tenant uuid, p_days integer) returns bigint
language plpgsql volatile strict
set search_path = ''
as $$
declare
  v_found record;
  v_healed bigint := 0;
begin
  for v_found in
    select distinct d.period_start, d.period_type
    from tally.verify(p_tenant, now() - make_interval(days => p_days), now()) as d
  loop
    raise warning 'tenant %: the % from % differs from the raw events and is rebuilt',
      p_tenant, v_found.period_type, v_found.period_start;
    v_healed := v_healed + tally.rebuild_range(
      p_tenant, v_found.period_start, v_found.period_start + interval '1 microsecond');
  end loop;
  return v_healed;
end
$$;
alter function tally.heal_tenant owner to tally_owner;
revoke all on function tally.heal_tenant from public;
comment on function tally.heal_tenant is
  'Verifies the last days of a tenant and rebuilds what differs; returns how many summary rows that changed.';
