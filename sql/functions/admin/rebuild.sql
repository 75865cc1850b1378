-- Recomputes the summaries of a tenant from raw events, a local day a transaction, while writers go
-- on; days that hold nothing are skipped. Interrupted, run it again: each day is right before and
-- after its step. Cost: one aggregation of the raw events.
create procedure tally.rebuild(
  p_tenant uuid,
  p_from timestamptz default '-infinity',
  p_to timestamptz default 'infinity',
  inout days integer default 0, inout changed bigint default 0
)
language plpgsql
as $$
declare
  v_run bigint;
  v_tenant tally.tenant_context;
  v_day timestamptz;
  v_end timestamptz;
  v_to timestamptz;
  v_first_on date;
  v_total integer;
begin
  days := 0;
  changed := 0;
  v_tenant := tally.tenant_read(p_tenant);
  select
    tally.period_start(w.first_at, 'day', v_tenant.time_zone, v_tenant.week_start), w.last_at
  into v_day, v_to
  from tally.data_extent(v_tenant, p_from, p_to) as w;
  v_first_on := tally.local_date(v_day, v_tenant.time_zone);
  v_total := tally.local_date(v_to - interval '1 microsecond', v_tenant.time_zone) - v_first_on + 1;
  if v_day < v_tenant.events_kept_from then
    perform tally.rebuild_range(p_tenant, v_day, v_day + interval '1 microsecond');
  end if;
  v_run := tally.job_start('rebuild');
  commit;
  while v_day < v_to
  loop
    v_end := tally.period_end(v_day, 'day', v_tenant.time_zone, v_tenant.week_start);
    changed := changed + tally.rebuild_range(p_tenant, v_day, v_end);
    days := days + 1;
    v_day := coalesce(tally.next_day(v_tenant, v_end, v_to), v_to);
    commit;
    if v_day >= v_to then
      raise notice 'rebuilt % of % days', v_total, v_total;
    elsif days % 10 = 0 then
      -- Those that were skipped are done too.
      raise notice 'rebuilt % of % days',
        tally.local_date(v_day, v_tenant.time_zone) - v_first_on, v_total;
    end if;
  end loop;
  perform tally.job_finish(v_run, 1, days, changed);
  commit;
end
$$;
alter procedure tally.rebuild owner to tally_owner;
revoke all on procedure tally.rebuild from public;
comment on procedure tally.rebuild is
  'Recomputes the summaries of a tenant from its raw events, a day a transaction, skipping days that hold nothing; returns how many days it recomputed and how many rows differed. TY409 where raw events are gone.';
