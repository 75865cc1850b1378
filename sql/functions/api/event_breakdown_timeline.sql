-- api.event_breakdown in each hour, day, week or month, gaps filled: the groups that are the largest
-- over the whole range, `missing` and `other`, which add up in each interval as they do in all. From a
-- meter days, weeks and months of the tenant's zone; hours and other zones read raw events.
create function api.event_breakdown_timeline(
  p_tenant uuid,
  p_by text[] default '{type}',
  p_interval text default 'day',
  p_from text default '-infinity',
  p_to text default 'infinity',
  p_types text[] default '{}',
  p_measure text default 'count',
  p_of text default 'value',
  p_unique text default 'actorId',
  p_filters jsonb default '[]',
  p_actor text default '',
  p_time_zone text default '',
  p_limit integer default 10
)
returns table (
  bucket_start timestamptz, bucket_on date, part text, group_values text[], total numeric,
  is_exact boolean, error_bound bigint, relative_error numeric, resolved_from timestamptz,
  resolved_to timestamptz
)
language plpgsql stable strict security definer
set search_path = ''
as $$
declare
  v_tenant tally.tenant_context := tally.tenant_set_current(p_tenant);
  v_zone text := tally.query_zone(v_tenant, p_time_zone);
  v_question tally.question := tally.question(
    p_types, p_filters, p_actor, p_by, p_of, p_unique, p_measure);
  v_range record := tally.question_range(v_tenant, v_question, p_from, p_to, v_zone);
  v_coarsest text := case
    when p_interval = 'hour' or v_zone <> v_tenant.time_zone then 'quarter_hour'
    when p_interval = 'month' then 'month'
    else 'day'
  end;
  v_extent record := tally.summary_extent(v_tenant, v_coarsest);
  v_from timestamptz;
  v_to timestamptz;
  v_none numeric := tally.group_measure(p_measure, 0, 0, null, null, null, null, null);
  v_buckets record;
  v_rows bigint;
begin
  if p_interval not in ('hour', 'day', 'week', 'month') then
    raise exception using
      errcode = 'TY400', column = 'p_interval',
      message = format('unknown interval %s', to_json(left(p_interval, 64))),
      hint = 'Use hour, day, week or month.';
  end if;
  perform tally.check_limit(p_limit);
  v_from := case when isfinite(v_range.range_from) then v_range.range_from else v_extent.first_at end;
  v_to := case
    when isfinite(v_range.range_to) then v_range.range_to
    else tally.period_end(v_extent.last_at, p_interval, v_zone, v_tenant.week_start)
  end;
  if v_from is null or v_to is null or v_from >= v_to then
    return;
  end if;
  v_buckets := tally.timeline_buckets(v_from, v_to, p_interval, v_zone, v_tenant.week_start);
  return query
  with ranked as materialized (
    select *
    from tally.ranked_totals(v_tenant, v_buckets.boundaries, v_coarsest, v_question, p_limit) as r
    where r.part <> 't'
  ),
  series as (
    select distinct r.part, r.rank, r.group_key from ranked as r
  )
  select
    b.starts_at,
    b.on_day,
    case s.part when 'g' then 'group' when 'm' then 'missing' else 'other' end,
    case when s.part = 'g' then tally.group_values(s.group_key, v_question.dimensions, p_by) end,
    coalesce(r.total, v_none),
    (select bool_and(e.is_exact) from ranked as e),
    (select max(e.error_bound) from ranked as e),
    tally.relative_error(v_question.measure, tally.question_source(v_tenant, v_question)),
    v_range.resolved_from,
    v_range.resolved_to
  from unnest(v_buckets.starts, v_buckets.days) with ordinality as b (starts_at, on_day, bucket)
  cross join series as s
  left join ranked as r
    on r.bucket = b.bucket and r.part = s.part and r.group_key is not distinct from s.group_key
  order by b.bucket, array_position('{g,m,o}'::"char"[], s.part), s.rank
  limit 100001;
  get diagnostics v_rows = row_count;
  if v_rows > 100000 then
    raise exception using
      errcode = 'TY400', column = 'p_limit', message = 'intervals times groups is more than 100,000',
      hint = 'Choose a shorter range, a longer interval, or fewer groups.';
  end if;
end
$$;
alter function api.event_breakdown_timeline owner to tally_tenant;
revoke all on function api.event_breakdown_timeline from public;
grant execute on function api.event_breakdown_timeline to tally_service, tally_owner;
comment on function api.event_breakdown_timeline is
  'api.event_breakdown in each hour, day, week or month of a range, at most 10,000, gaps filled: by part (group, missing, other) and group, ranked over the whole range. TY400 for bad arguments.';
