-- Decides what answers a question that summaries do not: raw events before the meter's days are
-- filled, at edges shorter than its periods and on the days named; its rows otherwise. Without a
-- meter raw events answer all of it. The parts are disjoint, in no order, and cover the range.
create function tally.meter_parts(
  p_tenant tally.tenant_context, p_meter tally.meters, p_from timestamptz, p_to timestamptz,
  p_coarsest text, p_with_groups boolean, p_raw_days timestamptz[]
)
returns table (source text, slice_from timestamptz, slice_to timestamptz)
language plpgsql immutable
set search_path = ''
as $$
declare
  v_parts timestamptz[];
  v_part record;
  v_run_end timestamptz;
  v_at timestamptz;
begin
  v_at := case when p_meter.meter_id is null then p_to
    else greatest(p_from, least(p_to, p_meter.filled_from)) end;
  if p_from < v_at then
    source := 'raw';
    slice_from := p_from;
    slice_to := v_at;
    return next;
  end if;
  v_parts := tally.range_parts(
    p_tenant, v_at, p_to,
    case when p_raw_days <> '{}' and p_coarsest = 'month' then 'day' else p_coarsest end);
  for v_part in
    select p.*
    from unnest(
      '{raw,quarter_hour,day,month,day,quarter_hour,raw}'::text[], v_parts[1:7], v_parts[2:8]
    ) as p (source, slice_from, slice_to)
    where p.slice_from < p.slice_to
  loop
    source := case
      when p_with_groups and v_part.source = 'quarter_hour' then 'raw'
      else v_part.source end;
    v_at := v_part.slice_from;
    if source = 'day' then
      -- Runs of days, so that a year of them is one scan.
      for slice_from, slice_to in
        select min(d.starts_at), max(d.ends_at)
        from (
          select b.*, count(*) filter (where b.is_first) over (order by b.starts_at) as run
          from (
            select
              a.starts_at, a.ends_at,
              a.starts_at is distinct from lag(a.ends_at) over (order by a.starts_at) as is_first
            from (
              select
                s.at as starts_at,
                tally.period_end(s.at, 'day', p_tenant.time_zone, p_tenant.week_start) as ends_at
              from unnest(p_raw_days) as s (at)
              where s.at >= v_part.slice_from and s.at < v_part.slice_to
            ) as a
          ) as b
        ) as d
        group by d.run
        order by 1
      loop
        v_run_end := slice_to;
        source := 'raw';
        return next;
        slice_to := slice_from;
        slice_from := v_at;
        source := 'day';
        if slice_from < slice_to then
          return next;
        end if;
        v_at := v_run_end;
      end loop;
    end if;
    if v_at < v_part.slice_to then
      slice_from := v_at;
      slice_to := v_part.slice_to;
      return next;
    end if;
  end loop;
end
$$;
alter function tally.meter_parts owner to tally_owner;
revoke all on function tally.meter_parts from public;
grant execute on function tally.meter_parts to tally_tenant;
comment on function tally.meter_parts is
  'The disjoint parts that cover a range, each with what answers it: raw, or the meter''s quarter_hour, day or month rows.';
