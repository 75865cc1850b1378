-- Is anything left of deleted tenants that should be gone?
create function tally.doctor_deletions()
returns table (check_name text, status text, message text, remedy text)
language plpgsql stable
set search_path = ''
as $$
begin
  return query
  select
    'deletions of tenants',
    case when min(d.requested_at) < now() - interval '3 hours' then 'late' else 'ok' end,
    case
      when count(*) = 0 then 'none is under way'
      else format(
        '%s under way, the oldest since %s%s', count(*), min(d.requested_at),
        case when bool_or(d.ingest_ended_at is null) then
          '; a transaction that stored events before is still open' else '' end)
    end,
    'call tally.maintain(); transactions that hold it up: select * from pg_locks where locktype = ''advisory'''
  from tally.tenant_deletions as d
  where d.finished_at is null
  union all
  select
    'BI logins of deleted tenants', case when count(*) = 0 then 'ok' else 'failed' end,
    case when count(*) = 0 then 'there is none' else string_agg(r.rolname, ', ' order by r.rolname) end,
    string_agg(format('call tally.bi_role_drop(%L)', r.rolname), '; ' order by r.rolname)
  from tally.tenant_deletions as d
  join pg_catalog.pg_roles as r
    on starts_with(r.rolname::text, 'bi_' || replace(d.tenant_id::text, '-', '') || '_');
end
$$;
alter function tally.doctor_deletions owner to tally_owner;
revoke all on function tally.doctor_deletions from public;
comment on function tally.doctor_deletions is 'Checks of deleted tenants: is one not finished, has one left BI logins.';
