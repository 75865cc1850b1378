-- Which version of a meter answers for which days: the newest that has them.
create function tally.meter_versions(p_tenant uuid, p_name text)
returns table (
  meter_id uuid, dimensions text[], covers_from timestamptz, covers_to timestamptz
)
language plpgsql stable strict
set search_path = ''
as $$
begin
  return query
  select
    m.meter_id, m.dimensions, m.filled_from,
    coalesce(min(m.filled_from) over (
      order by m.version desc rows between unbounded preceding and 1 preceding), 'infinity')
  from tally.meters as m
  where m.tenant_id = p_tenant and m.name = p_name and m.deleted_at is null;
end
$$;
alter function tally.meter_versions owner to tally_owner;
revoke all on function tally.meter_versions from public;
grant execute on function tally.meter_versions to tally_tenant, tally_bi;
comment on function tally.meter_versions is
  'The versions of a meter and the days for which each of them answers.';
