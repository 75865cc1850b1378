-- The loop of every job: runs a step (tally.job_step) for each tenant, a transaction a step, until
-- there is no more to do. An error with one tenant is told, does not stop the others, and the last
-- is returned. A tenant whose lock somebody else holds delays nobody: after 50 ms it is put aside, and
-- tried once more when the others are done, for which the whole run waits 5 s with fold, which runs
-- again in a minute, and 60 s otherwise. Who still holds the lock then is named in the error. With fold
-- a tenant has 5 s a run: one who brings more than can be folded would keep all others waiting.
-- Interrupted anywhere, run it again; or run several at once, which share the tenants: each finds done what
-- the others did, in an order of its own, so that they seldom meet.
create procedure tally.each_tenant(
  p_step text, p_tenants uuid[], p_days integer,
  inout rows bigint default 0, inout tenants integer default 0, inout healed bigint default 0,
  inout failures integer default 0, inout error text default null
)
language plpgsql
as $$
declare
  v_tenants uuid[] := array(select t from unnest(p_tenants) as t order by random());
  v_locked uuid[] := array[]::uuid[];
  v_touched uuid[] := array[]::uuid[];
  v_until timestamptz;
  v_turn_ends_at timestamptz;
  v_tenant uuid;
  v_left integer;
  v_rows bigint;
  v_healed bigint;
  v_more boolean;
  v_before bigint;
begin
  rows := 0;
  tenants := 0;
  healed := 0;
  failures := 0;
  commit;
  for v_round in 1..2
  loop
    v_left := cardinality(v_tenants);
    foreach v_tenant in array v_tenants
    loop
      v_before := rows;
      v_turn_ends_at := case when p_step = 'fold' then clock_timestamp() + interval '5 s' else 'infinity' end;
      loop
        begin
          perform set_config(
            'lock_timeout',
            case v_round when 1 then '50' else tally.lock_patience(v_until, v_left) end, true);
          -- What a crash takes back of a fold waits as deltas again, so nobody waits for the disk, which
          -- took 80 % of the time of a small tenant. What finalize tells must stay.
          if p_step = 'fold' then
            perform set_config('synchronous_commit', 'off', true);
          end if;
          select s.rows, s.healed, s.more into v_rows, v_healed, v_more
          from tally.job_step(p_step, v_tenant, p_days) as s;
          rows := rows + v_rows;
          healed := healed + v_healed;
        exception
          when lock_not_available then
            v_more := false;
            if v_round = 1 then
              v_locked := v_locked || v_tenant;
            else
              failures := failures + 1;
              error := format(
                'tenant %s is locked by %s', v_tenant,
                coalesce(tally.lock_holders(v_tenant), 'a transaction that has ended since'));
              raise warning '%', error;
            end if;
          when sqlstate 'TY410' then
            -- Deleted since the list was made.
            v_more := false;
          when others then
            error := format('tenant %s: %s', v_tenant, sqlerrm);
            raise warning '%', error;
            failures := failures + 1;
            v_more := false;
        end;
        commit;
        exit when not v_more or clock_timestamp() > v_turn_ends_at;
      end loop;
      v_left := v_left - 1;
      if rows > v_before and v_tenant <> all (v_touched) then
        tenants := tenants + 1;
        if v_tenant = any (v_locked) then
          v_touched := v_touched || v_tenant;
        end if;
      end if;
    end loop;
    v_tenants := v_locked;
    v_until := clock_timestamp() + case when p_step in ('fold', 'measure') then interval '5 s' else interval '60 s' end;
  end loop;
end
$$;
alter procedure tally.each_tenant owner to tally_owner;
revoke all on procedure tally.each_tenant from public;
comment on procedure tally.each_tenant is
  'Runs a step of a job for each of the tenants until it has no more to do, a transaction a step, those whose lock others hold last; returns rows, tenants with any, healed rows, failures and the last error.';
