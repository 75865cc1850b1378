-- Verifies what was finalized lately, at every period type, and rebuilds the days that differ: a
-- second look at what finalize has checked, quarter hours included. May be run at any time.
create procedure tally.verify_recent(
  p_days integer default 2,
  inout tenants integer default 0, inout healed bigint default 0, inout failures integer default 0
)
language plpgsql
as $$
declare
  v_run bigint := tally.job_start('verify');
  v_tenant uuid;
  v_found record;
  v_error text;
begin
  tenants := 0;
  healed := 0;
  failures := 0;
  commit;
  for v_tenant in select t.tenant_id from tally.tenants as t
  loop
    tenants := tenants + 1;
    begin
      for v_found in
        select distinct d.period_start, d.period_type
        from tally.verify(v_tenant, now() - make_interval(days => p_days), now()) as d
      loop
        raise warning 'tenant %: the % from % differs from the raw events and is rebuilt',
          v_tenant, v_found.period_type, v_found.period_start;
        healed := healed + tally.rebuild_range(
          v_tenant, v_found.period_start, v_found.period_start + interval '1 microsecond');
      end loop;
    exception when others then
      v_error := format('tenant %s: %s', v_tenant, sqlerrm);
      raise warning '%', v_error;
      failures := failures + 1;
    end;
    commit;
  end loop;
  perform tally.job_finish(v_run, tenants, 0, healed, v_error);
  commit;
end
$$;
alter procedure tally.verify_recent owner to tally_owner;
revoke all on procedure tally.verify_recent from public;
comment on procedure tally.verify_recent is
  'Verifies the last days of every tenant, at every period type, and rebuilds what differs; returns tenants, healed rows and failures.';
