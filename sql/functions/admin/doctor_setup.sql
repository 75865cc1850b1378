-- What the server has to have: extensions, the time zones of the tenants, privileges of the database.
create function tally.doctor_setup()
returns table (check_name text, status text, message text, remedy text)
language plpgsql stable
set search_path = ''
as $$
begin
  return query
  select
    'extension ' || e.name, case when x.extname is null then 'missing' else 'ok' end,
    coalesce('version ' || x.extversion, 'is not installed in this database'),
    format('create extension %s; then pgtally migrate', e.name)
  from (values ('hll'), ('pg_cron')) as e (name)
  left join pg_catalog.pg_extension as x on x.extname = e.name
  union all
  select
    'time zones', case when count(*) = 0 then 'ok' else 'missing' end,
    case when count(*) = 0 then 'the server knows the zones of all tenants'
      else 'the server does not know ' || string_agg(t.time_zone, ', ') end,
    'install the server''s legacy time zones (on Debian the package tzdata-legacy), or tally.tenant_set_calendar'
  from (select distinct s.time_zone from tally.tenants as s) as t
  where not tally.knows_time_zone(t.time_zone)
  union all
  select
    'database: ' || c.claim, case when c.done then 'ok' else 'advice' end,
    case when c.done then 'as it should be' else 'not so; it takes who owns that' end, c.statement
  from tally.database_claims() as c;
end
$$;
alter function tally.doctor_setup owner to tally_owner;
revoke all on function tally.doctor_setup from public;
comment on function tally.doctor_setup is 'Checks of extensions, of the time zones that tenants use, and of what tally.database_claims names.';
