-- Keeps the house: weekly partitions four weeks ahead, the default partition drained, old run
-- records removed. May be run at any time.
create procedure tally.maintain(inout partitions integer default 0, inout moved bigint default 0)
language plpgsql
as $$
declare
  v_run bigint := tally.job_start('maintain');
  v_at timestamptz;
  v_before bigint;
  v_error text;
begin
  partitions := 0;
  moved := 0;
  select count(*) into v_before from pg_catalog.pg_inherits where inhparent = 'tally.events'::regclass;
  commit;
  for v_at in
    select generate_series(now(), now() + interval '4 weeks', interval '1 week')
    union
    select distinct date_bin('7 days', e.occurred_at, timestamptz '2001-01-01 00:00:00+00')
    from tally.events_default as e
  loop
    begin
      moved := moved + tally.partition_create(v_at);
    exception when lock_not_available then
      v_error := format('partition of %s: %s; the next run tries again', v_at, sqlerrm);
      raise warning '%', v_error;
    end;
    commit;
  end loop;
  select count(*) - v_before into partitions
  from pg_catalog.pg_inherits where inhparent = 'tally.events'::regclass;
  delete from tally.job_runs where started_at < now() - interval '30 days';
  delete from tally.rate_buckets where updated_at < now() - interval '1 day';
  perform tally.job_finish(v_run, 0, moved, 0, v_error);
  commit;
end
$$;
alter procedure tally.maintain owner to tally_owner;
revoke all on procedure tally.maintain from public;
comment on procedure tally.maintain is
  'Makes partitions four weeks ahead, drains the default partition, prunes run records; returns new partitions and moved events.';
