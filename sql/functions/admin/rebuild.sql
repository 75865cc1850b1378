-- Recomputes the summaries of a tenant from raw events, a local day a transaction, while writers go
-- on. Interrupted, run it again: each day is right before and after its step. Cost: one
-- aggregation of the raw events.
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
  v_to timestamptz;
  v_total integer;
begin
  days := 0;
  changed := 0;
  v_tenant := tally.tenant_read(p_tenant);
  select
    tally.period_start(w.first_at, 'day', v_tenant.time_zone, v_tenant.week_start), w.last_at
  into v_day, v_to
  from tally.data_extent(v_tenant, p_from, p_to) as w;
  v_total := tally.local_date(v_to, v_tenant.time_zone) - tally.local_date(v_day, v_tenant.time_zone) + 1;
  if v_day < v_tenant.events_kept_from then
    perform tally.rebuild_range(p_tenant, v_day, v_day + interval '1 microsecond');
  end if;
  v_run := tally.job_start('rebuild');
  commit;
  while v_day < v_to
  loop
    changed := changed + tally.rebuild_range(p_tenant, v_day, v_day + interval '1 microsecond');
    days := days + 1;
    v_day := tally.period_end(v_day, 'day', v_tenant.time_zone, v_tenant.week_start);
    commit;
    if days % 10 = 0 or v_day >= v_to then
      raise notice 'rebuilt % of % days', days, greatest(days, v_total);
    end if;
  end loop;
  perform tally.job_finish(v_run, 1, days, changed);
  commit;
end
$$;
alter procedure tally.rebuild owner to tally_owner;
revoke all on procedure tally.rebuild from public;
comment on procedure tally.rebuild is
  'Recomputes the summaries of a tenant from its raw events, a day a transaction; returns days and changed rows. TY409 where raw events are gone.';
