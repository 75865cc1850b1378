-- The part of a deletion that removes everything but raw events: up to p_limit rows.
create function tally.tenant_remove_records(p_tenant uuid, p_limit integer) returns bigint
language plpgsql volatile strict
set search_path = ''
as $$
declare
  v_table text;
  v_count bigint;
  v_rows bigint;
  v_earliest timestamptz;
begin
  -- By row address: deleting `in (select ... limit)` is quadratic in a nested loop.
  with removed as (
    delete from tally.summary_deltas as d
    where d.tenant_id = p_tenant
      and d.ctid = any (array(
        select o.ctid from tally.summary_deltas as o where o.tenant_id = p_tenant limit p_limit))
    returning d.quarter_hour
  )
  select count(*), min(r.quarter_hour) into v_rows, v_earliest from removed as r;
  update tally.tenant_deletions as d
  set events_removed_to = v_earliest
  where d.tenant_id = p_tenant and d.events_removed_to > v_earliest;
  for v_table in
    values
      ('summaries'), ('meter_deltas'), ('meter_summaries'), ('meters'), ('rejected_events'), ('receipts'),
      ('share_links')
  loop
    exit when v_rows >= p_limit;
    execute format(
      'delete from tally.%I as r
       where r.tenant_id = $1
         and r.ctid = any (array(select o.ctid from tally.%I as o where o.tenant_id = $1 limit $2))',
      v_table, v_table)
    using p_tenant, p_limit - v_rows;
    get diagnostics v_count = row_count;
    v_rows := v_rows + v_count;
    if v_table = 'summaries' then
      update tally.tenant_deletions as d
      set summary_count = d.summary_count + v_count
      where d.tenant_id = p_tenant and v_count > 0;
    end if;
  end loop;
  return v_rows;
end
$$;
alter function tally.tenant_remove_records owner to tally_owner;
revoke all on function tally.tenant_remove_records from public;
comment on function tally.tenant_remove_records is
  'Removes up to p_limit deltas, summaries, meters, rejected events, receipts and share links of a tenant that is being deleted; returns how many.';
