-- Moves all deltas that wait into the summaries, 20,000 of one tenant a transaction, in rounds in which
-- a tenant has 5 s. May be run at any time, twice, and at once: a second run gets its turn between the
-- steps of the first, and finds the deltas gone. Then measures the tenants that have quotas
-- (tally.usage_measure). Where there were any deltas, it goes on for p_keep_on, and looks every 2 s for
-- tenants with 2,000 waiting: a busy tenant's readers then have seconds of deltas to add up, not a
-- minute's, while the rows of the others are written once a minute. After an error it ends. Cost: about
-- 20 us a delta.
create procedure tally.fold(
  p_keep_on interval default '0 s',
  inout deltas bigint default 0, inout tenants integer default 0, inout failures integer default 0
)
language plpgsql
as $$
declare
  v_run bigint := tally.job_start('fold');
  v_until timestamptz := clock_timestamp() + p_keep_on;
  -- What arrives later is for the next run: a tenant may bring more than can be folded.
  v_last bigint := (select max(s.delta_id) from tally.summary_deltas as s);
  v_last_of_meters bigint := (select max(m.delta_id) from tally.meter_deltas as m);
  v_least integer := 1;
  v_left boolean;
  v_folded bigint;
  v_tenants uuid[];
  v_measured uuid[];
  v_all uuid[] := array[]::uuid[];
  v_rows bigint;
  v_touched integer;
  v_failures integer;
  v_healed bigint;
  v_error text;
  v_measure_error text;
begin
  deltas := 0;
  loop
    v_tenants := array(
      select d.tenant_id
      from (
        select s.tenant_id, s.delta_id <= v_last as is_old from tally.summary_deltas as s
        union all
        select m.tenant_id, m.delta_id <= v_last_of_meters from tally.meter_deltas as m
      ) as d
      where not exists (
        select from tally.tenants as t
        where t.tenant_id = d.tenant_id and t.deleted_at is not null)
      group by d.tenant_id
      having count(*) >= v_least or bool_or(d.is_old));
    call tally.each_tenant('fold', v_tenants, null, v_rows, v_touched, v_healed, failures, v_error);
    v_folded := v_rows;
    deltas := deltas + v_rows;
    v_all := array(select unnest(v_all) union select unnest(v_tenants));
    if v_least = 1 then
      v_measured := array(
        select t.tenant_id from tally.tenants as t where t.quotas <> '{}' and t.deleted_at is null);
      call tally.each_tenant(
        'measure', v_measured, null, v_rows, v_touched, v_healed, v_failures, v_measure_error);
      failures := failures + v_failures;
    end if;
    v_least := 2000;
    v_left := exists (
      select from tally.summary_deltas as s
      where s.tenant_id = any (v_tenants) and s.delta_id <= v_last
    ) or exists (
      select from tally.meter_deltas as m
      where m.tenant_id = any (v_tenants) and m.delta_id <= v_last_of_meters);
    exit when failures > 0 or v_left and p_keep_on > '0 s' and clock_timestamp() > v_until;
    continue when v_left and v_folded > 0;
    exit when deltas = 0 or clock_timestamp() + interval '2 s' > v_until;
    perform pg_sleep(2);
    commit;
  end loop;
  tenants := cardinality(v_all);
  perform tally.job_finish(v_run, tenants, deltas, 0, coalesce(v_error, v_measure_error));
  commit;
end
$$;
alter procedure tally.fold owner to tally_owner;
revoke all on procedure tally.fold from public;
comment on procedure tally.fold is
  'Moves waiting deltas into the summaries and returns how many, of how many tenants, and for how many it failed; with p_keep_on it goes on for so long with those of busy tenants. Safe to run at any time.';
