-- A step of removing deleted meters: up to 10,000 rows of a tenant, and then the meters themselves.
create function tally.remove_deleted_meters(p_tenant uuid) returns integer
language plpgsql volatile strict
set search_path = ''
as $$
declare
  v_meter uuid;
  v_rows integer := 0;
begin
  for v_meter in
    select m.meter_id from tally.meters as m
    where m.tenant_id = p_tenant and m.deleted_at is not null
  loop
    -- By row address, as in tenant_remove_records.
    delete from tally.meter_summaries as s
    where s.tenant_id = p_tenant
      and s.ctid = any (array(
        select o.ctid from tally.meter_summaries as o
        where o.tenant_id = p_tenant and o.meter_id = v_meter
        limit 10000));
    get diagnostics v_rows = row_count;
    if v_rows = 0 then
      delete from tally.meters as m where m.tenant_id = p_tenant and m.meter_id = v_meter;
      v_rows := 1;
    end if;
    exit;
  end loop;
  return v_rows;
end
$$;
alter function tally.remove_deleted_meters owner to tally_owner;
revoke all on function tally.remove_deleted_meters from public;
comment on function tally.remove_deleted_meters is
  'Removes up to 10,000 rows of a deleted meter of the tenant, or the meter when none are left; returns how many, 0 when there is none.';
