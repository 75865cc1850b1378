-- Moves all waiting deltas into the summaries, 20,000 of one tenant a transaction. May be run at any
-- time, twice, and at once: a second run waits for the tenant's row and finds the deltas gone. An
-- error with one tenant is recorded and does not stop the others. Cost: about 20 us a delta.
create procedure tally.fold(
  inout deltas bigint default 0, inout tenants integer default 0, inout failures integer default 0
)
language plpgsql
as $$
declare
  v_run bigint := tally.job_start('fold');
  v_tenant uuid;
  v_folded integer;
  v_error text;
begin
  deltas := 0;
  tenants := 0;
  failures := 0;
  commit;
  for v_tenant in select distinct d.tenant_id from tally.summary_deltas as d
  loop
    tenants := tenants + 1;
    loop
      begin
        v_folded := tally.fold_tenant(v_tenant);
        deltas := deltas + v_folded;
      exception when others then
        v_error := format('tenant %s: %s', v_tenant, sqlerrm);
        raise warning '%', v_error;
        failures := failures + 1;
        v_folded := 0;
      end;
      commit;
      exit when v_folded < 20000;
    end loop;
  end loop;
  perform tally.job_finish(v_run, tenants, deltas, 0, v_error);
  commit;
end
$$;
alter procedure tally.fold owner to tally_owner;
revoke all on procedure tally.fold from public;
comment on procedure tally.fold is
  'Moves waiting deltas into the summaries and returns how many, of how many tenants, and for how many it failed. Safe to run at any time.';
