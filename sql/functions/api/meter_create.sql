-- Makes a meter: from its commit on every event that it means is counted as it arrives, also those
-- whose requests are under way; what happened before is filled by a job, the newest days first, and
-- answered from raw events until then. For the moment of the creation ingest of the tenant waits, at
-- most 100 ms a try. With the name of a meter that there is, it becomes a new version of it, which
-- takes over when it is complete; what is not given stays as it was.
create function api.meter_create(
  p_tenant uuid,
  p_name text,
  p_types text[] default '{}',
  p_filters jsonb default '[]',
  p_by text[] default '{}',
  p_of text default 'value',
  p_unique text default 'actorId',
  p_max_groups integer default 100,
  p_replace boolean default false,
  p_percentiles boolean default false
)
returns table (meter_id uuid, version integer)
language plpgsql volatile strict security definer
set search_path = ''
as $$
declare
  v_question tally.question := tally.question(p_types, p_filters, '', p_by, p_of, p_unique, 'count');
  v_filter jsonpath := case when p_filters <> '[]' then tally.filter_path(p_filters) end;
  v_version integer;
begin
  if length(p_name) not between 1 and 200 then
    raise exception using errcode = 'TY400', column = 'p_name', message = 'a name has 1 to 200 characters';
  elsif p_max_groups not between 1 and 1000 then
    raise exception using
      errcode = 'TY400', column = 'p_max_groups', message = 'a meter keeps 1 to 1,000 groups a day';
  end if;
  -- In this order: a job may hold the tenant for long, and ingest must not wait for it.
  perform tally.tenant_lock(p_tenant);
  perform tally.ingest_lock_exclusive(p_tenant);
  select max(m.version) into v_version
  from tally.meters as m
  where m.tenant_id = p_tenant and m.name = p_name and m.deleted_at is null;
  if v_version is not null and not p_replace then
    raise exception using
      errcode = 'TY409', column = 'p_name', message = 'there is a meter of this name';
  elsif v_version is null and p_replace then
    raise exception using errcode = 'TY404', column = 'p_name', message = 'there is no meter of this name';
  elsif (
    select count(*) from tally.meters as m
    where m.tenant_id = p_tenant and m.retired_at is null) >= 50
  then
    raise exception using
      errcode = 'TY409', column = 'p_name', message = 'a tenant has at most 50 meters';
  end if;
  insert into tally.meters as m (
    tenant_id, name, version, event_types, filters, filter, dimensions, value_of, unique_of, max_groups,
    percentiles
  )
  values (
    p_tenant, p_name, coalesce(v_version, 0) + 1, v_question.event_types, v_question.filters, v_filter,
    v_question.dimensions, p_of, p_unique, p_max_groups, p_percentiles)
  returning m.meter_id, m.version into meter_id, version;
  update tally.tenant_state as s
  set meter_count = s.meter_count + 1
  where s.tenant_id = p_tenant;
  return next;
end
$$;
alter function api.meter_create owner to tally_owner;
revoke all on function api.meter_create from public;
grant execute on function api.meter_create to tally_service, tally_owner;
comment on function api.meter_create is
  'Makes a meter: types and filters, up to three dimensions, the number and the distinct things it counts, how many groups a day keeps, and whether it has percentiles; with p_replace a new version of the one of that name. TY400, TY404, TY409; TY503 when ingest left no moment for it.';
