-- One measure in each hour, day, week or month of a range, gaps filled. Costs a row for each period
-- read: day and month rows in the tenant's own zone, quarter hours for hours and for other zones.
-- An open start is the first event's period, an open end the newest's.
create function tally.timeline(
  p_tenant tally.tenant_context,
  p_zone text,
  p_interval text,
  p_from timestamptz,
  p_to timestamptz,
  p_types text[],
  p_measure text,
  p_filters jsonb,
  p_actor text,
  p_by_type boolean
)
returns table (
  bucket bigint, bucket_start timestamptz, bucket_on date, event_type text, total numeric,
  resolved_from timestamptz, resolved_to timestamptz
)
language plpgsql stable strict
set search_path = ''
as $$
declare
  v_coarsest text := case
    when p_interval = 'hour' or p_zone <> p_tenant.time_zone then 'quarter_hour'
    when p_interval = 'month' then 'month'
    else 'day'
  end;
  v_from timestamptz;
  v_to timestamptz;
  v_none numeric := tally.measure(p_measure, 0, 0, null, null, null, null);
  v_found record;
  v_rows bigint;
begin
  if p_interval not in ('hour', 'day', 'week', 'month') then
    raise exception using
      errcode = 'TY400', column = 'p_interval',
      message = format('unknown interval %s', to_json(left(p_interval, 64))),
      hint = 'Use hour, day, week or month.';
  end if;
  v_found := tally.check_query(p_tenant, p_from, p_to, p_measure);
  v_from := v_found.resolved_from;
  v_to := case when isfinite(v_found.resolved_to) then v_found.resolved_to else p_to end;
  if not (isfinite(v_from) and isfinite(v_to)) then
    v_found := tally.summary_extent(p_tenant, v_coarsest);
    v_from := case when isfinite(v_from) then v_from else v_found.first_at end;
    v_to := case
      when isfinite(v_to) then v_to
      else tally.period_end(v_found.last_at, p_interval, p_zone, p_tenant.week_start)
    end;
  end if;
  if v_from is null or v_to is null or v_from >= v_to then
    return;
  end if;
  if v_coarsest = 'quarter_hour' and v_from < p_tenant.quarter_hours_kept_from then
    raise exception using
      errcode = 'TY400', column = 'p_from',
      message = format('hours and other time zones need quarter-hour rows, which are kept from %s on',
        to_json(p_tenant.quarter_hours_kept_from));
  end if;
  v_found := tally.timeline_buckets(v_from, v_to, p_interval, p_zone, p_tenant.week_start);
  return query
  with totals as materialized (
    select *
    from tally.event_totals(
      p_tenant, v_found.boundaries, v_coarsest, p_types, p_by_type, p_measure, p_filters, p_actor)
  ),
  series as (
    select distinct totals.event_type from totals where p_by_type
    union all
    select null where not p_by_type
  )
  select
    b.bucket,
    b.starts_at,
    b.on_day,
    series.event_type,
    case when totals.bucket is null then v_none else totals.total end,
    case when isfinite(p_from) and v_from <> p_from then v_from end,
    case when isfinite(p_to) and v_to <> p_to then v_to end
  from unnest(v_found.starts, v_found.days) with ordinality as b (starts_at, on_day, bucket)
  cross join series
  left join totals
    on totals.bucket = b.bucket
    and totals.event_type is not distinct from series.event_type
  order by b.bucket, series.event_type
  limit 100001;
  get diagnostics v_rows = row_count;
  if v_rows > 100000 then
    raise exception using
      errcode = 'TY400', column = 'p_by_type',
      message = 'intervals times event types is more than 100,000',
      hint = 'Choose a shorter range, a longer interval, or fewer types.';
  end if;
end
$$;
alter function tally.timeline owner to tally_owner;
revoke all on function tally.timeline from public;
grant execute on function tally.timeline to tally_tenant;
comment on function tally.timeline is
  'One measure in each hour, day, week or month of a range, gaps filled; at most 10,000 buckets, numbered from 1. TY400 for bad arguments.';
