-- The meters of a tenant, by name, the newest version first: what they count, and how far they are.
create function api.meter_list(p_tenant uuid, p_name text default '')
returns table (
  name text, version integer, event_types text[], filters jsonb, dimensions text[], value_of text,
  unique_of text, max_groups integer, state text, created_at timestamptz, filled_from timestamptz,
  filled_at timestamptz, percentiles boolean
)
language plpgsql stable strict security definer
set search_path = ''
as $$
begin
  perform tally.tenant_set_current(p_tenant);
  return query
  select
    m.name, m.version, m.event_types, m.filters, m.dimensions, m.value_of, m.unique_of, m.max_groups,
    case
      when m.retired_at is not null then 'retired'
      when m.filled_at is null then 'filling'
      else 'complete'
    end,
    m.created_at, nullif(nullif(m.filled_from, '-infinity'), 'infinity'), m.filled_at,
    m.percentiles
  from tally.meters as m
  where m.tenant_id = p_tenant and m.deleted_at is null and (p_name = '' or m.name = p_name)
  order by m.name, m.version desc
  limit 1000;
end
$$;
alter function api.meter_list owner to tally_tenant;
revoke all on function api.meter_list from public;
grant execute on function api.meter_list to tally_service, tally_owner;
comment on function api.meter_list is
  'The meters of a tenant with their versions: what they count, their state (filling, complete, retired) and from when on their days are filled (NULL: all, or none yet while filling).';
