-- How long a job waits for a lock, as a lock_timeout: what is left until p_until, in equal parts for
-- the p_left tenants that may want it, at least 50 ms.
create function tally.lock_patience(p_until timestamptz, p_left integer) returns text
language sql volatile strict
set search_path = ''
as $$
  select greatest(
    50, case when isfinite(p_until)
      then extract(epoch from p_until - clock_timestamp()) * 1000 / greatest(p_left, 1) end
  )::integer::text
$$;
alter function tally.lock_patience owner to tally_owner;
revoke all on function tally.lock_patience from public;
comment on function tally.lock_patience is
  'The lock_timeout, in milliseconds, with which a job may still wait for one of p_left tenants.';
