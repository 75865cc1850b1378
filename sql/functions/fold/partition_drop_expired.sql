-- Drops the weekly partitions that no tenant needs: those that end before the retention bound of
-- every tenant that has events there. Dropping a week costs nothing, deleting its rows would. A
-- reader whose snapshot is older than the drop, and so than the bound, is told to try again by
-- tally.partition_changes.
create function tally.partition_drop_expired() returns integer
language plpgsql volatile security definer
set search_path = ''
set lock_timeout = '200ms'
as $$
declare
  v_partition record;
  v_used boolean;
  v_events bigint;
  v_dropped integer := 0;
begin
  for v_partition in
    select
      c.relname,
      (regexp_match(pg_get_expr(c.relpartbound, c.oid), 'TO \(''([^'']+)''\)'))[1]::timestamptz as ends_at
    from pg_catalog.pg_inherits as i
    join pg_catalog.pg_class as c on c.oid = i.inhrelid
    where i.inhparent = 'tally.events'::regclass and c.relname <> 'events_default'
  loop
    continue when v_partition.ends_at > now() - interval '2 days';
    continue when not exists (
      select from tally.tenant_state as t where t.events_kept_from >= v_partition.ends_at);
    execute format(
      'select exists (
         select from tally.tenant_state as t
         where t.events_kept_from < %L
           and exists (select from tally.%I as e where e.tenant_id = t.tenant_id))',
      v_partition.ends_at, v_partition.relname)
    into v_used;
    continue when v_used;
    lock table only tally.events in access exclusive mode;
    execute format('select count(*) from tally.%I', v_partition.relname) into v_events;
    execute format('drop table tally.%I', v_partition.relname);
    insert into tally.partition_changes (partition_name, event_count) values (v_partition.relname, v_events);
    v_dropped := v_dropped + 1;
  end loop;
  return v_dropped;
end
$$;
alter function tally.partition_drop_expired owner to tally_owner;
revoke all on function tally.partition_drop_expired from public;
comment on function tally.partition_drop_expired is
  'Drops the weekly partitions in which every tenant''s events are past their retention; returns how many. 55P03 if others keep the table busy for 200 ms.';
