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
  bucket bigint, bucket_start timestamptz, event_type text, total numeric,
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
  v_starts timestamptz[];
  v_boundaries timestamptz[];
  v_rows bigint;
begin
  if p_interval not in ('hour', 'day', 'week', 'month') then
    raise exception using
      errcode = 'TY400', column = 'p_interval',
      message = format('unknown interval %s', to_json(left(p_interval, 64))),
      hint = 'Use hour, day, week or month.';
  end if;
  select * into v_from, v_to from tally.check_query(p_tenant, p_from, p_to, p_measure);
  if not isfinite(v_to) and isfinite(p_to) then
    v_to := p_to;
  end if;
  if not (isfinite(v_from) and isfinite(v_to)) then
    select
      case when isfinite(v_from) then v_from else s.first_at end,
      case when isfinite(v_to) then v_to
        else tally.period_end(s.last_at, p_interval, p_zone, p_tenant.week_start) end
    into v_from, v_to
    from tally.summary_extent(p_tenant, v_coarsest) as s;
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
  select b.starts, b.boundaries into v_starts, v_boundaries
  from tally.timeline_buckets(v_from, v_to, p_interval, p_zone, p_tenant.week_start) as b;
  return query
  with totals as materialized (
    select
      t.bucket, t.event_type,
      tally.measure(
        p_measure, sum(t.event_count)::bigint, sum(t.value_count)::bigint, sum(t.value_sum),
        min(t.value_min), max(t.value_max), public.hll_union_agg(t.actors)) as total
    from tally.event_totals(
      p_tenant, v_boundaries, v_coarsest, p_types, p_by_type, p_measure,
      p_filters, p_actor) as t
    group by t.bucket, t.event_type
  ),
  series as (
    select distinct totals.event_type from totals where p_by_type
    union all
    select null where not p_by_type
  )
  select
    b.bucket,
    b.starts_at,
    series.event_type,
    case
      when totals.bucket is null then tally.measure(p_measure, 0, 0, null, null, null, null)
      else totals.total
    end,
    case when isfinite(p_from) and v_from <> p_from then v_from end,
    case when isfinite(p_to) and v_to <> p_to then v_to end
  from unnest(v_starts) with ordinality as b (starts_at, bucket)
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
