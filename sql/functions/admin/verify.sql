-- Compares every quarter hour, day, week and month that touches a range with the raw events: a row
-- for each difference, none if all is well; and every day of its meters. Changes nothing and locks nothing. Cost: four
-- aggregations of the raw events.
create function tally.verify(
  p_tenant uuid,
  p_from timestamptz default '-infinity',
  p_to timestamptz default 'infinity'
)
returns table (
  period_type text, period_start timestamptz, event_type text,
  raw_count bigint, summary_count bigint, raw_sum numeric, summary_sum numeric, detail text
)
language plpgsql stable strict
set search_path = ''
as $$
declare
  v_tenant tally.tenant_context;
  v_first timestamptz;
  v_last timestamptz;
  v_from timestamptz;
  v_to timestamptz;
  v_unit text;
  v_chunk_end timestamptz;
  v_boundaries timestamptz[];
begin
  v_tenant := tally.tenant_read(p_tenant);
  select greatest(w.first_at, v_tenant.events_kept_from), w.last_at
  into v_first, v_last
  from tally.data_extent(v_tenant, p_from, p_to) as w
  where w.first_at < w.last_at;
  if v_first is null or v_first >= v_last then
    return;
  end if;
  foreach v_unit in array array['quarter_hour', 'day', 'week', 'month']
  loop
    v_from := tally.period_start(v_first, v_unit, v_tenant.time_zone, v_tenant.week_start);
    -- A period that retention has cut into cannot be compared.
    if v_from < v_tenant.events_kept_from then
      v_from := tally.period_ceiling(v_first, v_unit, v_tenant.time_zone, v_tenant.week_start);
    end if;
    v_to := tally.period_ceiling(v_last, v_unit, v_tenant.time_zone, v_tenant.week_start);
    -- A year at a time, so that neither the boundaries nor the totals grow without bound.
    while v_from < v_to
    loop
      v_chunk_end := least(v_to, tally.period_ceiling(
        v_from + interval '365 days', v_unit, v_tenant.time_zone, v_tenant.week_start));
      if v_unit = 'quarter_hour' then
        select array_agg(at) into v_boundaries
        from generate_series(v_from, v_chunk_end, interval '15 minutes') as at;
      else
        select b.boundaries into v_boundaries
        from tally.timeline_buckets(
          v_from, v_chunk_end, v_unit, v_tenant.time_zone, v_tenant.week_start) as b;
      end if;
      return query
      select *
      from tally.period_differences(p_tenant, v_unit, v_boundaries);
      if v_unit = 'day' and v_tenant.meter_count > 0 then
        return query
        select *
        from tally.meter_differences(v_tenant, v_boundaries);
      end if;
      v_from := v_chunk_end;
    end loop;
  end loop;
end
$$;
alter function tally.verify owner to tally_owner;
revoke all on function tally.verify from public;
comment on function tally.verify is
  'The summaries that differ from the raw events in a range, at every period type; event_type is NULL for the row of all types. None if all is well. TY404 for an unknown tenant.';
