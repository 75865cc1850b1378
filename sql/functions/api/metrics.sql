-- The figures that monitoring watches, one row each: name, label, value. Counted up to a bound, so
-- that asking costs milliseconds whatever the backlog.
create function api.metrics()
returns table (name text, label text, value double precision)
language plpgsql stable security definer
set search_path = ''
as $$
begin
  return query
  select 'deltas_waiting', '', count(*)::double precision
  from (select from tally.summary_deltas limit 1000000) as d
  union all
  select 'fold_lag_seconds', '', extract(epoch from now() - max(r.finished_at))::double precision
  from tally.job_runs as r
  where r.job = 'fold' and r.status = 'done'
  having max(r.finished_at) is not null
  union all
  select 'rejected_events', '', count(*)::double precision
  from (select from tally.rejected_events limit 100000) as r
  union all
  select 'tenant_deletions_waiting', '', count(*)::double precision
  from tally.tenant_deletions as d
  where d.finished_at is null
  union all
  (select 'tenant_events_quota_used_ratio', s.tenant_id::text, r.ratio
  from tally.tenant_state as s
  join tally.tenants as t on t.tenant_id = s.tenant_id
  cross join lateral (
    select ((s.usage ->> 'events')::numeric / nullif((t.quotas ->> 'events')::numeric, 0))::double precision
  ) as r (ratio)
  where t.quotas ? 'events' and t.deleted_at is null and r.ratio is not null
  order by 3 desc
  limit 1000)
  union all
  select
    'bytes',
    case when c.relispartition then 'events' else c.relname::text end,
    sum(pg_catalog.pg_total_relation_size(c.oid))::double precision
  from pg_catalog.pg_class as c
  where c.relnamespace = 'tally'::regnamespace and c.relkind = 'r'
  group by 2
  union all
  select 'default_partition_events', '', count(*)::double precision
  from (select from tally.events_default limit 100000) as e
  union all
  select 'partitions_ahead', '', count(*)::double precision
  from pg_catalog.pg_inherits as i
  join pg_catalog.pg_class as c on c.oid = i.inhrelid
  where i.inhparent = 'tally.events'::regclass
    and c.relname > 'events_' || to_char(now() at time zone 'UTC', 'YYYYMMDD')
    and c.relname <> 'events_default'
  union all
  select 'healed_summaries_30d', '', tally.healed_rows()::double precision
  union all
  select 'job_last_success_timestamp_seconds', r.job, extract(epoch from max(r.finished_at))::double precision
  from tally.job_runs as r
  where r.status = 'done'
  group by r.job
  union all
  select 'job_failures_30d', r.job, (count(*) filter (where r.status <> 'done' and r.finished_at is not null))::double precision
  from tally.job_runs as r
  group by r.job;
end
$$;
alter function api.metrics owner to tally_owner;
revoke all on function api.metrics from public;
grant execute on function api.metrics to tally_service;
comment on function api.metrics is
  'Figures for monitoring: backlog, fold lag, default partition, partitions ahead, healed summaries, rejected events, used quotas of events, bytes, and when each job last succeeded.';
