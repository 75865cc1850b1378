-- Compares a tenant's meters, rows and deltas, with the raw events of whole local days, as one snapshot
-- sees them: the total of each day by its own row, by its quarter hours and by its parts, and each
-- group that is kept. Finds nothing unless something is wrong.
create function tally.meter_differences(
  p_tenant tally.tenant_context, p_boundaries timestamptz[]
)
returns table (
  period_type text, period_start timestamptz, event_type text,
  raw_count bigint, summary_count bigint, raw_sum numeric, summary_sum numeric, detail text
)
language plpgsql stable strict
set search_path = ''
as $$
declare
  v_id uuid := p_tenant.tenant_id;
  v_to timestamptz := p_boundaries[cardinality(p_boundaries)];
  v_from timestamptz;
  v_meter tally.meters;
  v_question tally.question;
  -- With which all figures are read that are compared.
  v_measure text;
begin
  for v_meter in
    select * from tally.meters as m
    where m.tenant_id = v_id and m.retired_at is null and m.filled_from < v_to
  loop
    v_from := greatest(p_boundaries[1], v_meter.filled_from);
    v_measure := case when v_meter.percentiles then 'p50' else 'sum' end;
    v_question := row(
      v_meter.event_types, v_meter.filters, '', v_meter.dimensions, v_meter.value_of,
      v_meter.unique_of, v_measure)::tally.question;
    return query
    with raw as materialized (
      select * from tally.raw_groups(v_id, v_from, v_to, p_boundaries, v_question, v_meter.filter)
    ),
    counted as (
      select r.bucket, 'total' as detail, null::text[] as group_key, r.event_count, r.value_sum,
        r.value_histogram
      from raw as r
      union all
      select r.bucket, 'quarter hours', null, r.event_count, r.value_sum, r.value_histogram
      from raw as r
      union all
      select r.bucket, 'parts', null, r.event_count, r.value_sum, r.value_histogram
      from raw as r
      where v_meter.dimensions <> '{}'
      union all
      select r.bucket, 'group', r.group_key, r.event_count, r.value_sum, r.value_histogram
      from raw as r
      join tally.meter_summaries as s
        on s.tenant_id = v_id
        and s.meter_id = v_meter.meter_id
        and s.period_type = 'd'::"char"
        and s.part = 'g'::"char"
        and s.period_start = p_boundaries[r.bucket]
        and s.group_key = r.group_key
      where r.part = 'g'
    ),
    metered as (
      select t.bucket, 'total' as detail, null::text[] as group_key, t.event_count, t.value_sum, t.value_histogram
      from tally.meter_totals(
        v_id, v_meter.meter_id, 'day', v_from, v_to, p_boundaries, false, v_measure) as t
      union all
      select t.bucket, 'quarter hours', null, t.event_count, t.value_sum, t.value_histogram
      from tally.meter_totals(
        v_id, v_meter.meter_id, 'quarter_hour', v_from, v_to, p_boundaries, false, v_measure) as t
      where v_from >= p_tenant.quarter_hours_kept_from
      union all
      select t.bucket, 'parts', null, t.event_count, t.value_sum, t.value_histogram
      from tally.meter_totals(
        v_id, v_meter.meter_id, 'day', v_from, v_to, p_boundaries, true, v_measure) as t
      where v_meter.dimensions <> '{}'
      union all
      select t.bucket, 'group', t.group_key, t.event_count, t.value_sum, t.value_histogram
      from tally.meter_totals(
        v_id, v_meter.meter_id, 'day', v_from, v_to, p_boundaries, true, v_measure) as t
      join tally.meter_summaries as s
        on s.tenant_id = v_id
        and s.meter_id = v_meter.meter_id
        and s.period_type = 'd'::"char"
        and s.part = 'g'::"char"
        and s.period_start = p_boundaries[t.bucket]
        and s.group_key = t.group_key
      where t.part = 'g'
    )
    select
      'day', p_boundaries[coalesce(c.bucket, m.bucket)], null::text, coalesce(c.event_count, 0),
      coalesce(m.event_count, 0), c.value_sum, m.value_sum,
      format('meter %s: %s', v_meter.name, coalesce(c.detail, m.detail))
    from (
      select c.bucket, c.detail, c.group_key, sum(c.event_count)::bigint as event_count,
        sum(c.value_sum) as value_sum,
        tally.histogram_compact(string_agg(c.value_histogram, '')) as value_histogram
      from counted as c
      where c.detail <> 'quarter hours' or v_from >= p_tenant.quarter_hours_kept_from
      group by c.bucket, c.detail, c.group_key
    ) as c
    full join (
      select m.bucket, m.detail, m.group_key, sum(m.event_count)::bigint as event_count,
        sum(m.value_sum) as value_sum,
        tally.histogram_compact(string_agg(m.value_histogram, '')) as value_histogram
      from metered as m
      group by m.bucket, m.detail, m.group_key
    ) as m
      on m.bucket = c.bucket and m.detail = c.detail
      and coalesce(m.group_key::text, '') = coalesce(c.group_key::text, '')
    where c.event_count is distinct from m.event_count
      or c.value_sum is distinct from m.value_sum
      or c.value_histogram is distinct from m.value_histogram;
  end loop;
end
$$;
alter function tally.meter_differences owner to tally_owner;
revoke all on function tally.meter_differences from public;
comment on function tally.meter_differences is
  'The days whose meters plus deltas differ from the raw events, as one snapshot sees both.';
