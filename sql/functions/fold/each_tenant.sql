-- The loop of every job: runs a step (tally.job_step) for each tenant, a transaction a step, until
-- there is no more to do. An error with one tenant is told, does not stop the others, and the last
-- is returned. Interrupted anywhere, run it again.
create procedure tally.each_tenant(
  p_step text, p_tenants uuid[], p_days integer,
  inout rows bigint default 0, inout tenants integer default 0, inout healed bigint default 0,
  inout failures integer default 0, inout error text default null
)
language plpgsql
as $$
declare
  v_tenant uuid;
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
  foreach v_tenant in array p_tenants
  loop
    v_before := rows;
    loop
      begin
        select s.rows, s.healed, s.more into v_rows, v_healed, v_more
        from tally.job_step(p_step, v_tenant, p_days) as s;
        rows := rows + v_rows;
        healed := healed + v_healed;
      exception
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
      exit when not v_more;
    end loop;
    tenants := tenants + (rows > v_before)::integer;
  end loop;
end
$$;
alter procedure tally.each_tenant owner to tally_owner;
revoke all on procedure tally.each_tenant from public;
comment on procedure tally.each_tenant is
  'Runs a step of a job for each of the tenants until it has no more to do, a transaction a step; returns rows, tenants with any, healed rows, failures and the last error.';
