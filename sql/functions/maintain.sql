-- Keeps the house: weekly partitions four weeks ahead, weeks of 10,000 events and more moved out of
-- the default partition, events and quarter hours past their retention removed, old run records,
-- rejected events and receipts too. Sparse weeks stay in the default partition: 2,400 of them, one
-- event each since 1980, would slow down everybody's queries. May be run at any time.
create procedure tally.maintain(
  inout partitions integer default 0, inout moved bigint default 0,
  inout dropped integer default 0, inout removed bigint default 0
)
language plpgsql
as $$
declare
  v_run bigint := tally.job_start('maintain');
  v_at timestamptz;
  v_before bigint;
  v_error text;
  v_tenant uuid;
  v_tenants uuid[] := array[]::uuid[];
  v_removed bigint;
begin
  partitions := 0;
  moved := 0;
  dropped := 0;
  removed := 0;
  select count(*) into v_before from pg_catalog.pg_inherits where inhparent = 'tally.events'::regclass;
  commit;
  for v_at in
    select generate_series(now(), now() + interval '4 weeks', interval '1 week')
    union
    select date_bin('7 days', e.occurred_at, timestamptz '2001-01-01 00:00:00+00') as week
    from tally.events_default as e
    group by week
    having count(*) >= 10000 or max(e.occurred_at) > now() - interval '2 weeks'
  loop
    begin
      moved := moved + tally.partition_create(v_at);
    exception when lock_not_available then
      v_error := format('partition of %s: %s; the next run tries again', v_at, sqlerrm);
      raise warning '%', v_error;
    end;
    commit;
    exit when v_error is not null;
  end loop;
  select count(*) - v_before into partitions
  from pg_catalog.pg_inherits where inhparent = 'tally.events'::regclass;
  for v_tenant in
    select t.tenant_id
    from tally.tenants as t
    where t.event_retention is not null or t.quarter_hour_retention is not null
  loop
    -- Bounds first, for all: whole partitions may then go before single rows.
    perform tally.retain_tenant(v_tenant, 0);
    commit;
    v_tenants := v_tenants || v_tenant;
  end loop;
  begin
    dropped := tally.partition_drop_expired();
  exception when lock_not_available then
    v_error := format('dropping expired partitions: %s; the next run tries again', sqlerrm);
    raise warning '%', v_error;
  end;
  commit;
  foreach v_tenant in array v_tenants
  loop
    loop
      v_removed := tally.retain_tenant(v_tenant);
      removed := removed + v_removed;
      commit;
      exit when v_removed = 0;
    end loop;
  end loop;
  -- An aborted move has used up a number that readers in a repeatable-read transaction look at.
  if tally.moves_made() < (select m.last_value from tally.event_moves_move_id_seq as m where m.is_called) then
    insert into tally.event_moves (partition_name, event_count) values ('none', 0);
  end if;
  delete from tally.job_runs where started_at < now() - interval '30 days';
  delete from tally.rejected_events where rejected_at < now() - interval '30 days';
  delete from tally.receipts where created_at < now() - interval '7 days';
  delete from tally.rate_buckets where updated_at < now() - interval '1 day';
  perform tally.job_finish(v_run, cardinality(v_tenants), moved + removed, 0, v_error);
  commit;
end
$$;
alter procedure tally.maintain owner to tally_owner;
revoke all on procedure tally.maintain from public;
comment on procedure tally.maintain is
  'Makes partitions four weeks ahead, drains full weeks from the default partition, removes what is past its retention, prunes run records; returns new partitions, moved events, dropped partitions and removed rows.';
