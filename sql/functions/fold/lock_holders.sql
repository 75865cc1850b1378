-- Who else holds locks that a job waits for: sessions that lock one of our tables against writers,
-- and those that hold the lock of a tenant (tally.tenant_lock), of p_tenant or, if it is null, of any.
-- Of these, those whose transaction is older than p_older_than, or of unknown age. Reads no table but
-- tenant_state and waits for none. Null if there is nobody.
create function tally.lock_holders(p_tenant uuid default null, p_older_than interval default '0')
returns text
language plpgsql stable
set search_path = ''
set lock_timeout = '50ms'
as $$
declare
  v_locker xid;
begin
  if p_tenant is not null then
    begin
      -- Whoever has locked a row has left the number of its transaction there.
      select s.xmax into v_locker from tally.tenant_state as s where s.tenant_id = p_tenant;
    exception when lock_not_available then
      null;
    end;
  end if;
  return (
    select string_agg(
      case
        when h.pid is null then 'a prepared transaction (see pg_prepared_xacts)'
        else format('pid %s (%s)', h.pid, concat_ws(
          ', ', nullif(a.application_name, ''), 'user ' || a.usename, a.state,
          'for ' || round(extract(epoch from clock_timestamp() - a.xact_start)) || ' s'))
      end, ', ' order by a.xact_start, h.pid)
    from (
      select distinct l.pid
      from pg_catalog.pg_locks as l
      left join pg_catalog.pg_class as c
        on c.oid = l.relation and c.relnamespace = 'tally'::regnamespace
        and l.database = (select d.oid from pg_catalog.pg_database as d where d.datname = current_database())
      where l.granted
        and l.pid is distinct from pg_backend_pid()
        and (
          c.oid is not null
          and l.mode in ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
          or l.locktype = 'transactionid' and l.transactionid = v_locker
          or p_tenant is null
          and c.oid = 'tally.tenant_state'::regclass
          and l.mode in ('RowShareLock', 'RowExclusiveLock'))
    ) as h
    left join pg_catalog.pg_stat_activity as a on a.pid = h.pid
    where coalesce(clock_timestamp() - a.xact_start >= p_older_than, true)
  );
end
$$;
alter function tally.lock_holders owner to tally_owner;
revoke all on function tally.lock_holders from public;
comment on function tally.lock_holders is
  'The sessions, each with pid, application, user, state and age, that hold locks which jobs wait for: of one tenant or of any; null if there are none.';
