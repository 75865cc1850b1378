-- What a DBA should know: a row for each check, with what to run where something is wrong.
create function tally.doctor()
returns table (check_name text, status text, message text, remedy text)
language plpgsql stable
set search_path = ''
as $$
begin
  return query
  with jobs (job, late_after, command) as (
    values
      ('fold', interval '10 minutes', 'call tally.fold()'),
      ('finalize day', interval '26 hours', 'call tally.finalize(''day'')'),
      ('finalize week', interval '8 days', 'call tally.finalize(''week'')'),
      ('finalize month', interval '32 days', 'call tally.finalize(''month'')'),
      ('verify', interval '26 hours', 'call tally.verify_recent()'),
      ('maintain', interval '3 hours', 'call tally.maintain()')
  ),
  runs as (
    select
      j.*,
      (select max(r.finished_at) from tally.job_runs as r where r.job = j.job and r.status = 'done') as last_at,
      (select r.error from tally.job_runs as r where r.job = j.job order by r.job_run_id desc limit 1) as error,
      (select min(t.created_at) from tally.tenants as t) as since
    from jobs as j
  ),
  checks as (
    select
      'job ' || r.job as name,
      case
        when r.error is not null then 'failed'
        when coalesce(r.last_at, r.since) < now() - r.late_after then 'late'
        else 'ok'
      end as state,
      case
        when r.error is not null then 'the last run failed: ' || r.error
        else 'last finished ' || coalesce(r.last_at::text, 'never')
      end as message,
      r.command || '; then look at cron.job and cron.job_run_details' as remedy
    from runs as r
    union all
    select
      'deltas waiting', case when count(*) > 1000000 then 'late' else 'ok' end,
      format('%s deltas wait to be folded', count(*)), 'call tally.fold()'
    from (select from tally.summary_deltas limit 1000001) as d
    union all
    select
      'healed summaries', case when sum(r.healed_count) > 0 then 'failed' else 'ok' end,
      format('%s summary rows differed from the raw events in the last 30 days and were rebuilt',
        coalesce(sum(r.healed_count), 0)),
      'find out what wrote to tally.summaries or tally.events directly; then select * from tally.verify(tenant)'
    from tally.job_runs as r
    union all
    select
      'default partition', case when count(*) >= 100000 then 'late' else 'ok' end,
      format('%s events (counted up to 100,000) lie in the default partition', count(*)),
      'call tally.maintain()'
    from (select from tally.events_default limit 100000) as e
    union all
    select
      'partitions ahead',
      case when to_regclass('tally.events_' || to_char(date_bin(
        '7 days', now() + interval '1 week', timestamptz '2001-01-01 00:00:00+00') at time zone 'UTC',
        'YYYYMMDD')) is null then 'missing' else 'ok' end,
      'the partition of next week', 'call tally.maintain()'
    union all
    select
      'extension ' || e.name, case when x.extname is null then 'missing' else 'ok' end,
      coalesce('version ' || x.extversion, 'is not installed in this database'),
      format('create extension %s; then pgtally migrate', e.name)
    from (values ('hll'), ('pg_cron')) as e (name)
    left join pg_catalog.pg_extension as x on x.extname = e.name
    union all
    select
      'role ' || w.name, case when a.oid is null then 'missing' when a.rolsuper or a.rolbypassrls then 'failed' else 'ok' end,
      case when a.oid is null then 'does not exist' when a.rolsuper or a.rolbypassrls then 'ignores row security' else 'as it should be' end,
      format('alter role %s nosuperuser nobypassrls', w.name)
    from (values ('tally_owner'), ('tally_tenant'), ('tally_service'), ('tally_jobs'), ('tally_bi')) as w (name)
    left join pg_catalog.pg_roles as a on a.rolname = w.name
    union all
    select
      'row security of ' || c.relname,
      case when c.relrowsecurity and (t.attname is null or c.relispartition
        or c.relname in ('api_keys', 'audit_log')
        or exists (select from pg_catalog.pg_policy as p where p.polrelid = c.oid)) then 'ok' else 'missing' end,
      'row security is on and has its policy', format('alter table tally.%I enable row level security', c.relname)
    from pg_catalog.pg_class as c
    left join pg_catalog.pg_attribute as t on t.attrelid = c.oid and t.attname = 'tenant_id'
    where c.relnamespace = 'tally'::regnamespace and c.relkind in ('r', 'p')
  )
  select c.name, c.state, c.message, case when c.state <> 'ok' then c.remedy end
  from checks as c
  order by c.state = 'ok', c.name;
end
$$;
alter function tally.doctor owner to tally_owner;
revoke all on function tally.doctor from public;
comment on function tally.doctor is
  'A row for each check of jobs, backlog, partitions, extensions, roles and policies: ok, late, missing or failed, with what to run.';
