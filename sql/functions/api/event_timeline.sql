-- One measure in each hour, day, week or month of a range, gaps filled; with p_compare beside it the
-- same of the range before, first bucket beside first bucket. Costs a row for each period read: day
-- and month rows in the tenant's own zone, quarter hours for hours and for other zones. An open
-- start is the first event's period, an open end the newest's.
create function api.event_timeline(
  p_tenant uuid,
  p_interval text default 'day',
  p_from text default '-infinity',
  p_to text default 'infinity',
  p_types text[] default '{}',
  p_measure text default 'count',
  p_filters jsonb default '[]',
  p_actor text default '',
  p_time_zone text default '',
  p_by_type boolean default false,
  p_compare boolean default false
)
returns table (
  bucket_start timestamptz, bucket_on date, event_type text, total numeric,
  resolved_from timestamptz, resolved_to timestamptz,
  previous_start timestamptz, previous_on date, previous_total numeric
)
language plpgsql stable strict security definer
set search_path = ''
as $$
declare
  v_tenant tally.tenant_context := tally.tenant_set_current(p_tenant);
  v_zone text := tally.query_zone(v_tenant, p_time_zone);
  v_from timestamptz := tally.range_end(p_from, v_zone, 'p_from');
  v_to timestamptz := tally.range_end(p_to, v_zone, 'p_to');
begin
  if not p_compare then
    return query
    select
      t.bucket_start, t.bucket_on, t.event_type, t.total,
      t.resolved_from, t.resolved_to, null::timestamptz, null::date, null::numeric
    from tally.timeline(
      v_tenant, v_zone, p_interval, v_from, v_to, p_types, p_measure, p_filters, p_actor, p_by_type
    ) as t;
    return;
  end if;
  return query
  with now as materialized (
    select *
    from tally.timeline(
      v_tenant, v_zone, p_interval, v_from, v_to, p_types, p_measure, p_filters, p_actor, p_by_type)
  ),
  before as materialized (
    select t.*
    from tally.range_previous(v_from, v_to, v_zone) as p
    cross join lateral tally.timeline(
      v_tenant, v_zone, p_interval, p.previous_from, p.previous_to, p_types, p_measure, p_filters,
      p_actor, p_by_type) as t
  ),
  buckets as (
    select
      n.bucket, n.bucket_start, n.bucket_on, min(n.resolved_from) as resolved_from,
      min(n.resolved_to) as resolved_to
    from now as n
    group by n.bucket, n.bucket_start, n.bucket_on
  ),
  series as (
    select n.event_type from now as n
    union
    select b.event_type from before as b
  )
  select
    b.bucket_start, b.bucket_on, s.event_type,
    -- A type that only one of the ranges has.
    coalesce(n.total, tally.measure(p_measure, 0, 0, null, null, null, null)),
    b.resolved_from, b.resolved_to,
    o.bucket_start, o.bucket_on,
    case when o.bucket is not null
      then coalesce(p.total, tally.measure(p_measure, 0, 0, null, null, null, null)) end
  from buckets as b
  cross join series as s
  left join now as n on n.bucket = b.bucket and n.event_type is not distinct from s.event_type
  left join (select distinct before.bucket, before.bucket_start, before.bucket_on from before) as o
    on o.bucket = b.bucket
  left join before as p on p.bucket = b.bucket and p.event_type is not distinct from s.event_type
  order by b.bucket, s.event_type;
end
$$;
alter function api.event_timeline owner to tally_tenant;
revoke all on function api.event_timeline from public;
grant execute on function api.event_timeline to tally_service, tally_owner;
comment on function api.event_timeline is
  'One measure in each hour, day, week or month of a range, gaps filled, at most 10,000 buckets, and with p_compare of the range before. Days are those of p_time_zone, by default the tenant''s. An end is a date (local midnight), an RFC 3339 time, or infinity. TY400 for bad arguments.';
