-- Deletes a meter, all versions of it: its name is free at once, its rows go with the next runs of the
-- fill job. With p_dry_run it only tells what would go.
create function api.meter_delete(p_tenant uuid, p_name text, p_dry_run boolean default false)
returns table (versions integer, rows bigint, final_days bigint)
language plpgsql volatile strict security definer
set search_path = ''
as $$
begin
  perform tally.tenant_lock(p_tenant);
  select count(distinct m.meter_id), count(s.meter_id), count(distinct s.period_start) filter (
    where s.final_at is not null)
  into versions, rows, final_days
  from tally.meters as m
  left join tally.meter_summaries as s on s.tenant_id = p_tenant and s.meter_id = m.meter_id
  where m.tenant_id = p_tenant and m.name = p_name and m.deleted_at is null;
  if versions = 0 then
    raise exception using errcode = 'TY404', column = 'p_name', message = 'there is no meter of this name';
  end if;
  if not p_dry_run then
    perform tally.audit('meter.delete', p_tenant, p_name, null);
    update tally.meters as m
    set retired_at = coalesce(m.retired_at, clock_timestamp()), deleted_at = clock_timestamp()
    where m.tenant_id = p_tenant and m.name = p_name and m.deleted_at is null;
    update tally.tenant_state as s
    set meter_count = (
      select count(*) from tally.meters as m where m.tenant_id = p_tenant and m.retired_at is null)
    where s.tenant_id = p_tenant;
  end if;
  return next;
end
$$;
alter function api.meter_delete owner to tally_owner;
revoke all on function api.meter_delete from public;
grant execute on function api.meter_delete to tally_service, tally_owner;
comment on function api.meter_delete is
  'Deletes all versions of a meter, or with p_dry_run tells how many versions, rows and final days would go. TY404.';
